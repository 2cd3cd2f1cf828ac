"""Hooks of a run: let a program that runs the benchmark act around timed windows and phases.

The regression gate sets one and the copies of a workload the other before they start a run; a plain
run has none. Does not import JAX, because hooks are set before JAX is configured.
"""

import contextlib
from collections.abc import Callable, Iterator
from typing import Any, Protocol


class Hook(Protocol):
    """Actions around every window that `timing.time_steps` times."""

    def before_start(self) -> None:
        """Called before the clock starts."""

    def before_end(self, seconds: float) -> None:
        """Called inside the window when all steps are done, `seconds` after its start."""

    def after_end(self) -> None:
        """Called when the clock has stopped."""


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
