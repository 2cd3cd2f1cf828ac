"""The parts of a step in a profile, and the scopes that mark their operations.

XLA keeps the scope names in the metadata of operations, through autodiff and in compiled programs
of any platform. Scopes do not change the program. The innermost scope counts.
"""

import enum
import re
from contextlib import AbstractContextManager
from typing import Any

import jax

_MARK = "part:"


class Part(enum.StrEnum):
    """A part, with its name in tables."""

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
        """Returns a context manager that marks the operations traced inside it."""
        return jax.named_scope(_MARK + self.name)

    def mark(self, function):
        """A decorator that marks the operations of a function."""
        return jax.named_scope(_MARK + self.name)(function)


def of(path: str) -> Part | None:
    """Returns the part in an operation's scope path; None if there is none.

    If an operation was merged from several, with paths joined by `;`, the first one counts.
    """
    marks = re.findall(rf"{_MARK}(\w+)", path.partition(";")[0])
    return Part[marks[-1]] if marks else None
