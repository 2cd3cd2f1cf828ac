"""Timed windows of a group: they begin and end in all processes together."""

from typing import Any

from mlpf_jax.hosts import group as group_lib


class Windows:
    """A `window.Hook`: every process waits for all others before a window and at its end."""

    def __init__(self, group: group_lib.Group):
        self.own_s = 0.0  # what this process took in the last window, without the wait at its end
        self.note: Any = None  # for process 0, at the start of the next window
        self.notes: list[Any] = []  # in process 0, those of all at the start of the last window
        self._group = group

    def agree(self, number: int) -> int:
        """Returns the number of process 0."""
        return self._group.share(number)

    def before_start(self) -> None:
        """Waits until all processes are ready; their notes come to process 0 meanwhile."""
        self.notes, self.note = self._group.gather(self.note), None

    def before_end(self, seconds: float) -> None:
        """Waits until all processes have done the steps; the wait belongs to the window."""
        self.own_s = seconds
        self._group.share()
