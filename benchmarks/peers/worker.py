"""Times both phases of one contender in one process, and prints one line of JSON.

    python -m benchmarks.peers.worker '{"name": "pytorch-eager", "folder": "...", ...}'

The argument has the fields of `Job`. The code is the same for every contender and runs in all
environments. Inference comes first, so that the memory peak after each phase belongs to that phase.
"""

import dataclasses
import itertools
import json
import math
import os
import resource
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from benchmarks.peers import contender as contender_lib
from benchmarks.peers import workload as workload_lib
from mlpf_jax import runtime
from mlpf_jax.measure import load

Clock = Callable[[], int]  # nanoseconds


@dataclasses.dataclass(frozen=True, kw_only=True)
class Job:
    """The arguments of a process."""

    name: str
    folder: str  # folder of the workload
    num_threads: int
    device: contender_lib.Device = "cpu"
    num_samples: int  # number of samples of each phase
    shortest_sample_s: float


def time_phase(
    step: Callable[[Any], Any],
    contender: contender_lib.Contender,
    batches: Sequence[Any],
    job: Job,
    clock: Clock = time.perf_counter_ns,
) -> dict[str, Any]:
    """Times the first call, including compilation, and then the samples.

    The first sample is one step; its duration determines the number of steps of the other samples.
    """
    endless = itertools.cycle(batches)
    start = clock()
    first = step(next(endless))
    contender.wait(first)
    first_call_s = (clock() - start) / 1e9
    losses, _ = contender.fetch(first)
    samples: list[dict[str, Any]] = []
    num_steps = 1
    for _ in range(job.num_samples):
        samples.append(_sample(step, contender, endless, num_steps, clock))
        if len(samples) == 1:
            num_steps = max(1, math.ceil(job.shortest_sample_s / samples[0]["seconds"]))
    return {
        "first_call_s": first_call_s,
        "first_losses": losses,
        "samples": samples,
        "peak_bytes": contender.peak_bytes() or _peak_process_bytes(),
    }


def _peak_process_bytes() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def _sample(
    step: Callable[[Any], Any],
    contender: contender_lib.Contender,
    batches: Iterator[Any],
    num_steps: int,
    clock: Clock,
) -> dict[str, Any]:
    fed = list(itertools.islice(batches, num_steps))
    watch = load.Watch()
    start = clock()
    sums = [step(batch) for batch in fed]
    for one in sums:
        contender.wait(one)
    seconds = (clock() - start) / 1e9
    meanwhile = watch.lap(seconds)
    losses = [contender.fetch(one)[0]["total"] for one in sums]
    if not all(math.isfinite(loss) for loss in losses):
        sys.exit(f"error: a loss is not finite: {losses}.")
    return {
        "seconds": seconds,
        "num_steps": num_steps,
        "load": None if meanwhile is None else dataclasses.asdict(meanwhile),
    }


def run(job: Job) -> dict[str, Any]:
    """Builds the contender and times both phases."""
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
    batches = [contender.put(elements, targets) for elements, targets in pairs]
    build_s = (time.perf_counter_ns() - start) / 1e9
    inference = time_phase(contender.infer, contender, batches, job)
    training = time_phase(contender.train, contender, batches, job)
    return {
        "name": job.name,
        "versions": contender.versions(),
        "allocator": settings.allocator,
        "num_threads": job.num_threads,
        "build_s": build_s,
        "inference": inference,
        "training": training,
    }


def main() -> None:
    """Runs the job given on the command line."""
    job = Job(**json.loads(sys.argv[1]))
    print(json.dumps(run(job)))


if __name__ == "__main__":
    main()
