"""One contender as a side of a comparison: calls both steps once, and then serves windows of them.

    python -m benchmarks.peers.worker '{"name": "pytorch-eager", "folder": "...", ...}'

The argument has the fields of `Job`. The code is the same for every contender and runs in all
environments. Inference comes first, so that the memory peak after each first call belongs to that
phase. What it says when it is ready is in `start`.
"""

import functools
import itertools
import json
import math
import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.peers import contender as contender_lib
from benchmarks.peers import workload as workload_lib
from mlpf_jax import runtime
from mlpf_jax.sides import protocol

Clock = Callable[[], int]  # nanoseconds


class Job(NamedTuple):
    """The arguments of a process."""

    name: str
    folder: str  # folder of the workload
    num_threads: int
    device: contender_lib.Device = "cpu"


def first_call(
    step: Callable[[Any], Any],
    contender: contender_lib.Contender,
    batch: Any,
    clock: Clock = time.perf_counter_ns,
) -> dict[str, Any]:
    """Times the first call, including compilation."""
    start = clock()
    sums = step(batch)
    contender.wait(sums)
    seconds = (clock() - start) / 1e9
    return {
        "first_call_s": seconds,
        "first_losses": contender.fetch(sums)[0],
        "peak_bytes": _peak_bytes(contender),
    }


def window(
    step: Callable[[Any], Any],
    contender: contender_lib.Contender,
    batches: Iterator[Any],
    num_steps: int,
    clock: Clock = time.perf_counter_ns,
) -> float:
    """Runs steps back to back and returns the seconds until the last one is done."""
    fed = list(itertools.islice(batches, num_steps))
    start = clock()
    sums = [step(batch) for batch in fed]
    for one in sums:
        contender.wait(one)
    seconds = (clock() - start) / 1e9
    losses = [contender.fetch(one)[0]["total"] for one in sums]
    if not all(math.isfinite(loss) for loss in losses):
        sys.exit(f"error: a loss is not finite: {losses}.")
    return seconds


def _peak_bytes(contender: contender_lib.Contender) -> int:
    return contender.peak_bytes() or protocol.peak_process_bytes()


def run(job: Job, pipes: protocol.Pipes) -> None:
    """Builds the contender, calls both steps, and serves."""
    # The same allocator for all; XLA's flags are only for ours, because another XLA may not know
    # them.
    is_own = job.name in contender_lib.OWN
    settings = runtime.prepare(1, os.environ if is_own else {})
    if is_own:
        runtime.set_up_jax(1)
    start = time.perf_counter_ns()
    workload = workload_lib.read(Path(job.folder))
    contender = contender_lib.make(job.name, workload, job.num_threads, job.device)
    pairs = zip(workload.elements, workload.targets, strict=True)
    batches = itertools.cycle([contender.put(elements, targets) for elements, targets in pairs])
    build_s = (time.perf_counter_ns() - start) / 1e9
    steps = {"inference": contender.infer, "training": contender.train}
    first = {phase: first_call(step, contender, next(batches)) for phase, step in steps.items()}
    protocol.serve(
        pipes,
        {
            phase: functools.partial(window, step, contender, batches)
            for phase, step in steps.items()
        },
        identity=contender.versions(),
        memory_bytes=max(one["peak_bytes"] for one in first.values()),
        events_per_step=workload.train.batch_size,
        more={
            "start": {
                "name": job.name,
                "versions": contender.versions(),
                "allocator": settings.allocator,
                "num_threads": job.num_threads,
                "build_s": build_s,
                **first,
            }
        },
        peak_bytes=lambda: _peak_bytes(contender),
    )


def main() -> None:
    """Runs the job given on the command line."""
    pipes = protocol.take_pipes()
    run(Job(**json.loads(sys.argv[1])), pipes)


if __name__ == "__main__":
    main()
