"""What a side and its driver say to each other: one JSON object per line, over two pipes.

The side speaks first, when it is ready: its identity, the bytes that it plans to use and the phases
that it can run. Then it answers requests on its standard input:

    {"run": "training", "steps": 5}    {"seconds": 0.31, "load": {"other_cores": 0.01, ...}}
    {"memory": true}                   {"peak_bytes": 1200000000}
    {"end": true}                      nothing; it ends, as it does when the pipe is closed

A waiting side blocks in a read and uses no CPU time. Imports no JAX: it runs in every framework's
environment.
"""

import dataclasses
import json
import os
import resource
import sys
from collections.abc import Callable, Mapping
from typing import IO, Any, NamedTuple

from mlpf_jax.measure import load

VERSION = 1
Window = Callable[[int], float]  # runs a number of steps and returns the seconds


class Pipes(NamedTuple):
    """The side's two ends."""

    requests: IO[str]
    answers: IO[str]


def take_pipes() -> Pipes:
    """Takes standard input and output for the protocol; what else is printed goes to stderr."""
    pipes = Pipes(os.fdopen(os.dup(0)), os.fdopen(os.dup(1), "w"))
    os.dup2(2, 1)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    return pipes


def serve(
    pipes: Pipes,
    phases: Mapping[str, Window],
    *,
    identity: Mapping[str, str],
    memory_bytes: int,
    events_per_step: int,
    more: Mapping[str, Any] | None = None,
    peak_bytes: Callable[[], int] | None = None,
) -> None:
    """Says that the side is ready, with `more` facts, and answers requests until the end.

    `memory_bytes` is what the steps need as planned. `peak_bytes` defaults to that of the process.
    """
    peak_bytes = peak_bytes or peak_process_bytes
    ready = {
        "protocol": VERSION,
        "identity": dict(identity),
        "memory_bytes": max(memory_bytes, peak_process_bytes()),
        "events_per_step": events_per_step,
        "phases": list(phases),
    }
    _say(pipes, ready | dict(more or {}))
    for line in pipes.requests:
        request = json.loads(line)
        if "run" in request:
            watch = load.Watch()
            seconds = phases[request["run"]](request["steps"])
            meanwhile = watch.lap(seconds)
            told = None if meanwhile is None else dataclasses.asdict(meanwhile)
            _say(pipes, {"seconds": seconds, "load": told})
        elif "memory" in request:
            _say(pipes, {"peak_bytes": peak_bytes()})
        else:
            return


def peak_process_bytes() -> int:
    """Returns the peak resident set size of this process."""
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def _say(pipes: Pipes, answer: Mapping[str, Any]) -> None:
    print(json.dumps(answer, allow_nan=False), file=pipes.answers, flush=True)
