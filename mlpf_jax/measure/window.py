"""The hook of a timed window: lets a program that runs the benchmark act around each one.

The regression gate sets it before it starts a run; a plain run has none. Imports no JAX, for it is
set before JAX is set up.
"""

from typing import Protocol


class Hook(Protocol):
    """What is done around every window that `timing.time_steps` times."""

    def before_start(self) -> None:
        """Called before the clock starts."""

    def before_end(self, seconds: float) -> None:
        """Called inside the window, when all of its steps are done, `seconds` after its start."""

    def after_end(self) -> None:
        """Called when the clock has stopped."""


hook: Hook | None = None
