"""The parts of a step that a profile tells apart, and how an operation is marked as one's.

The marks are scopes: they stand in the names that XLA keeps with an operation, through autodiff and
in compiled programs of any platform, and change no program. The innermost mark counts.
"""

import enum
import re
from contextlib import AbstractContextManager
from typing import Any

import jax

_MARK = "part:"


class Part(enum.StrEnum):
    """A part, by the name that a table shows."""

    BINNING = "binning"
    GATHER = "gather and scatter"
    ADJACENCY = "adjacency"
    MESSAGES = "message passing"
    GRAPH_LAYER = "graph layer, rest"
    HEADS = "heads"
    LOSS = "loss and counts"
    ENCODING = "input encoding"
    OPTIMISER = "optimiser"

    def scope(self) -> AbstractContextManager[Any]:
        """Returns a scope, for `with`, that marks the operations traced inside it."""
        return jax.named_scope(_MARK + self.name)

    def mark(self, function):
        """Marks the operations of a function; a decorator."""
        return jax.named_scope(_MARK + self.name)(function)


def of(path: str) -> Part | None:
    """Returns the part that an operation's path of scopes says; None if it says nothing.

    Of an operation merged from several, whose paths are joined by `;`, the first counts.
    """
    marks = re.findall(rf"{_MARK}(\w+)", path.partition(";")[0])
    return Part[marks[-1]] if marks else None
