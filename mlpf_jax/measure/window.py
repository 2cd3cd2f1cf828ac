"""A hook for timed windows: lets a program that runs the benchmark act around each of them.

The regression gate sets it before it starts a run; a plain run has none. Does not import JAX,
because the hook is set before JAX is configured.
"""

from typing import Protocol


class Hook(Protocol):
    """Actions around every window that `timing.time_steps` times."""

    def before_start(self) -> None:
        """Called before the clock starts."""

    def before_end(self, seconds: float) -> None:
        """Called inside the window when all steps are done, `seconds` after its start."""

    def after_end(self) -> None:
        """Called when the clock has stopped."""


hook: Hook | None = None
