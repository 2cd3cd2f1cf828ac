"""Hooks of a run: let a program that runs the benchmark use its steps, or act around its phases.

A side of a comparison, the copies of a workload and the processes of a run on several hosts each
set one; a plain run has none. Does not import JAX, because hooks are set before JAX is configured.
"""

import contextlib
import dataclasses
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Protocol


@dataclasses.dataclass(frozen=True, kw_only=True)
class Windows:
    """A run that is set up and measured, and can run more windows of its compiled steps."""

    phases: Mapping[str, Callable[[int], float]]  # each runs a number of steps; returns seconds
    programs: Mapping[str, str]  # the digest of every program
    memory_bytes: int  # of all devices together, as planned by the compiler
    events_per_step: int


# Called after the run with its windows.
server: Callable[[Windows], None] | None = None


class Hook(Protocol):
    """Actions around every window that `timing.time_steps` times."""

    def before_start(self) -> None:
        """Called before the clock starts."""

    def before_end(self, seconds: float) -> None:
        """Called inside the window when all steps are done, `seconds` after its start."""


hook: Hook | None = None


class Meeting(Protocol):
    """Lets several runs on one machine measure a phase at the same time."""

    def start(self, phase: str) -> None:
        """Called when a run is ready to start a phase; returns when all runs are."""

    def end(self, phase: str, work: Callable[[], Any]) -> None:
        """Called after the phase; repeats `work`, one more step, until all runs have ended it."""


meeting: Meeting | None = None


@contextlib.contextmanager
def together(phase: str, work: Callable[[], Any]) -> Iterator[None]:
    """Runs the block, a phase, at the same time as the other runs of the `meeting`, if any."""
    if meeting is not None:
        meeting.start(phase)
    yield
    if meeting is not None:
        meeting.end(phase, work)
