"""Simulates the shards of a store, in this process or in several that import nothing else.

A worker is a fresh interpreter: `python -m mlpf_jax.events.workers`. It reads one job, then one
task a line from its standard input, and answers on its standard output, a line of JSON each:
["event"] after every event, ["shard"] when one is on the disk, ["error", type, message]. Its
parent's death closes both pipes, and so ends it.
"""

import contextlib
import dataclasses
import json
import os
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TextIO

from mlpf_jax import atomic
from mlpf_jax.events import writing
from mlpf_jax.simulation import bank as bank_lib
from mlpf_jax.simulation import event as event_lib

_ERRORS = {"ValueError": ValueError, "OSError": OSError}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Job:
    """What all shards of a store have in common."""

    folder: str
    bank: str | None  # path of the truth bank; None: the one in the package
    provenance: Mapping[str, Any]  # holds the process and the seed


@dataclasses.dataclass(frozen=True, kw_only=True)
class Task:
    """One shard: events `first` to `first + num_events - 1` of the process and seed."""

    name: str
    first: int
    num_events: int


def simulate_here(
    job: Job, tasks: Sequence[Task], bank: bank_lib.Bank, on_event: Callable[[], None]
) -> None:
    """Simulates and writes the shards in this process."""
    for task in tasks:
        _simulate_shard(job, task, bank, on_event)


def simulate_in_workers(
    job: Job, tasks: Sequence[Task], num_workers: int, on_event: Callable[[], None]
) -> None:
    """Simulates and writes the shards in `num_workers` processes; `on_event` is called in this one.

    However it ends, no worker is left and no shard is there in part.

    Raises:
        ValueError, OSError: as a worker met it, or if a worker died.
    """
    todo: queue.SimpleQueue[Task | None] = queue.SimpleQueue()
    for item in [*tasks, *[None] * num_workers]:
        todo.put(item)
    replies: queue.SimpleQueue[list[str]] = queue.SimpleQueue()
    workers = [_start() for _ in range(num_workers)]
    threads = [
        threading.Thread(target=_attend, args=(worker, job, todo, replies)) for worker in workers
    ]
    for thread in threads:
        thread.start()
    try:
        _follow(replies, len(tasks), on_event)
    except BaseException:
        for worker in workers:
            worker.terminate()
        raise
    finally:  # without more to do they end by themselves
        for thread in threads:
            thread.join()
        # One that was ended in the moment between making a folder and guarding it left it behind.
        atomic.remove_leftovers(Path(job.folder))


def _follow(
    replies: "queue.SimpleQueue[list[str]]", num_shards: int, on_event: Callable[[], None]
) -> None:
    """Takes the workers' replies until so many shards are on the disk."""
    while num_shards:
        kind, *what = replies.get()
        if kind == "event":
            on_event()
        elif kind == "shard":
            num_shards -= 1
        else:
            raise _ERRORS[what[0]](what[1])


def serve(requests: TextIO, replies: TextIO) -> None:
    """Does the work of one worker until `requests` ends."""

    def reply(*words: str) -> None:
        replies.write(json.dumps(words) + "\n")
        replies.flush()

    try:
        job = Job(**json.loads(requests.readline()))
        bank = bank_lib.load_bank(None if job.bank is None else Path(job.bank))
        for line in requests:
            _simulate_shard(job, Task(**json.loads(line)), bank, lambda: reply("event"))
            reply("shard")
    except BrokenPipeError:  # the parent is gone: nobody waits for us
        raise
    except (ValueError, OSError) as error:
        reply("error", "OSError" if isinstance(error, OSError) else "ValueError", str(error))


def _simulate_shard(
    job: Job, task: Task, bank: bank_lib.Bank, on_event: Callable[[], None]
) -> None:
    process, seed = job.provenance["process"], job.provenance["seed"]
    events = []
    for index in range(task.first, task.first + task.num_events):
        events.append(event_lib.simulate(bank, process, seed, index))
        on_event()
    writing.write_shard(Path(job.folder), task.name, events, job.provenance)


def _start() -> subprocess.Popen[str]:
    """Starts a worker of its own process group: Ctrl-C is the parent's to handle."""
    package_parent = str(Path(__file__).resolve().parents[2])
    search_path = os.pathsep.join(filter(None, [package_parent, os.environ.get("PYTHONPATH")]))
    one_thread = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    return subprocess.Popen(
        [sys.executable, "-m", "mlpf_jax.events.workers"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": search_path} | one_thread,
        process_group=0,
    )


def _attend(
    worker: subprocess.Popen[str],
    job: Job,
    todo: "queue.SimpleQueue[Task | None]",
    replies: "queue.SimpleQueue[list[str]]",
) -> None:
    """Hands tasks to one worker, each when the one before is done, and passes on its replies."""
    with contextlib.suppress(BrokenPipeError), worker:  # closing what a dead one never read
        try:
            _send(worker, job)
            while (task := todo.get()) and _run(worker, task, replies):
                pass
        except (BrokenPipeError, json.JSONDecodeError):  # it is dead: half a line, or none
            message = f"a simulation worker died (exit status {worker.wait()})."
            replies.put(["error", "OSError", message])


def _run(
    worker: subprocess.Popen[str], task: Task, replies: "queue.SimpleQueue[list[str]]"
) -> bool:
    """Has a worker do one task and returns whether it did."""
    assert worker.stdout is not None
    _send(worker, task)
    while True:
        reply = json.loads(worker.stdout.readline())
        replies.put(reply)
        if reply[0] != "event":
            return reply[0] == "shard"


def _send(worker: subprocess.Popen[str], message: Job | Task) -> None:
    print(json.dumps(dataclasses.asdict(message)), file=worker.stdin, flush=True)


def main() -> None:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # cleans up what is half-written
    try:
        serve(sys.stdin, sys.stdout)
    except BrokenPipeError:
        os._exit(1)  # not even the flush of standard output can succeed
    signal.signal(signal.SIGTERM, signal.SIG_DFL)  # nothing is half-written any more


if __name__ == "__main__":
    main()
