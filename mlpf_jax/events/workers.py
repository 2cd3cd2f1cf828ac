"""Simulates the shards of a store, in this process or in worker processes.

A worker is a fresh interpreter: `python -m mlpf_jax.events.workers`. It reads one job and then one
task per line from standard input, and writes replies to standard output, one line of JSON each:
["event"] after every event, ["shard"] after writing a shard, ["error", type, message]. If the
parent dies, both pipes close and the worker ends.
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
    """The settings that all shards of a store share."""

    folder: str
    bank: str | None  # path of the truth bank; None: the bank in the package
    provenance: Mapping[str, Any]  # has the process, the seed and the bank's SHA-256


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

    On every exit, all workers have ended and no partial shard is left.

    Raises:
        ValueError, OSError: if raised in a worker, or if a worker died.
    """
    todo: queue.SimpleQueue[Task | None] = queue.SimpleQueue()
    for item in [*tasks, *[None] * num_workers]:
        todo.put(item)
    replies: queue.SimpleQueue[list[str]] = queue.SimpleQueue()
    workers: list[subprocess.Popen[str]] = []
    threads: list[threading.Thread] = []
    try:
        for _ in range(num_workers):
            workers.append(_start())
            arguments = (workers[-1], job, todo, replies)
            threads.append(threading.Thread(target=_attend, args=arguments))
            threads[-1].start()
        _follow(replies, len(tasks), on_event)
    except BaseException:
        for worker in workers:
            worker.terminate()
        raise
    finally:  # without further tasks, workers end by themselves
        for thread in filter(threading.Thread.is_alive, threads):
            thread.join()
        for worker in workers:
            with worker:  # one whose thread could not start is still there
                pass
        # A worker that is killed right after creating a temporary folder leaves it behind.
        atomic.remove_leftovers(Path(job.folder))


def _follow(
    replies: "queue.SimpleQueue[list[str]]", num_shards: int, on_event: Callable[[], None]
) -> None:
    """Processes the workers' replies until all shards are written."""
    while num_shards:
        kind, *what = replies.get()
        if kind == "event":
            on_event()
        elif kind == "shard":
            num_shards -= 1
        else:
            raise _ERRORS[what[0]](what[1])


def serve(requests: TextIO, replies: TextIO) -> None:
    """Runs one worker until `requests` ends."""

    def reply(*words: str) -> None:
        replies.write(json.dumps(words) + "\n")
        replies.flush()

    try:
        job = Job(**json.loads(requests.readline()))
        bank = _load_bank(job)
        for line in requests:
            _simulate_shard(job, Task(**json.loads(line)), bank, lambda: reply("event"))
            reply("shard")
    except BrokenPipeError:  # the parent has ended
        raise
    except (ValueError, OSError) as error:
        text = str(error)
        if isinstance(error, OSError) and error.strerror:
            text = f"{error.filename}: {error.strerror}."
        reply("error", "OSError" if isinstance(error, OSError) else "ValueError", text)


def _load_bank(job: Job) -> bank_lib.Bank:
    bank = bank_lib.load_bank(None if job.bank is None else Path(job.bank))
    if bank.sha256 != job.provenance["bank_sha256"]:
        raise ValueError(f"{job.bank} has changed since the simulation began.")
    return bank


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
    """Starts a worker in its own process group, so that the parent handles Ctrl-C."""
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
    """Gives tasks to one worker, one at a time, and forwards its replies."""
    with contextlib.suppress(BrokenPipeError), worker:  # on closing the pipe of a dead worker
        try:
            _send(worker, job)
            while (task := todo.get()) and _run(worker, task, replies):
                pass
        except (BrokenPipeError, ValueError) as error:  # it is dead, or others write to its output
            worker.terminate()
            line = getattr(error, "doc", "")
            after = f" after the line {line!r}" if line else ""
            message = f"a simulation worker died (exit status {worker.wait()}){after}."
            replies.put(["error", "OSError", message])


def _run(
    worker: subprocess.Popen[str], task: Task, replies: "queue.SimpleQueue[list[str]]"
) -> bool:
    """Runs one task in a worker; returns whether it succeeded."""
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
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # removes partial files
    try:
        serve(sys.stdin, sys.stdout)
    except BrokenPipeError:
        os._exit(1)  # flushing standard output would fail
    signal.signal(signal.SIGTERM, signal.SIG_DFL)  # no partial files are left


if __name__ == "__main__":
    main()
