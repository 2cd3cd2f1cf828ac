"""Whether the runs of two sides alternated, so that changes of the machine affect both alike.

If all runs of A come before all runs of B, a change of the machine in between cannot be
distinguished from a change of the program, however many runs there are.
"""

import datetime
import itertools
import math
from collections.abc import Sequence
from typing import NamedTuple

_UNLIKELY = 0.05


class Span(NamedTuple):
    """Start and end time of a run in ISO 8601, as in reports."""

    started_at: str
    finished_at: str


def are_apart(a: Sequence[Span], b: Sequence[Span]) -> bool:
    """Whether the sides alternate significantly less often than in a random order.

    The Wald-Wolfowitz runs test at 5 %. With three runs a side it cannot reject anything. Returns
    False if a time is unknown.

    Source: Wald and Wolfowitz, On a test whether two samples are from the same population (1940).
    """
    order = _order(a, b)
    if order is None:
        return False
    sides = [side for _, _, side in order]
    changes = sum(one != other for one, other in itertools.pairwise(sides))
    return _chance_of_so_few(len(a), len(b), changes + 1) <= _UNLIKELY


def why_no_pairs(a: Sequence[Span], b: Sequence[Span]) -> str | None:
    """Returns why the n-th runs of A and B are not valid pairs; None if they are.

    In valid pairs the two runs follow each other directly, in either order, and no two runs
    overlap.
    """
    count = min(len(a), len(b))
    order = _order(a[:count], b[:count])
    if order is None:
        return "the times of the runs are unknown"
    if any(later[0] < earlier[1] for earlier, later in itertools.pairwise(order)):
        return "runs were taken at the same time"
    sides = [side for _, _, side in order]
    if any(one == other for one, other in zip(sides[::2], sides[1::2], strict=True)):
        return "the runs were not taken in turns, so the machine may have changed between the sides"
    return None


def _order(
    a: Sequence[Span], b: Sequence[Span]
) -> list[tuple[datetime.datetime, datetime.datetime, str]] | None:
    """Returns all runs with their sides in order of time; None if a time cannot be parsed."""
    try:
        return sorted(
            (_time(span.started_at), _time(span.finished_at), side)
            for side, spans in (("A", a), ("B", b))
            for span in spans
        )
    except (OverflowError, TypeError, ValueError):
        return None


def _time(text: str) -> datetime.datetime:
    found = datetime.datetime.fromisoformat(text)
    return found.replace(tzinfo=found.tzinfo or datetime.UTC).astimezone(datetime.UTC)


def _chance_of_so_few(num_a: int, num_b: int, stretches: int) -> float:
    """Returns the probability of at most so many stretches of one side in a random order."""

    def ways(count: int) -> int:
        half, rest = divmod(count, 2)
        more, less = half + rest - 1, half - 1  # cuts of the first side, and of the other
        return sum(
            math.comb(first - 1, more) * math.comb(second - 1, less)
            for first, second in ((num_a, num_b), (num_b, num_a))
        )

    return sum(map(ways, range(2, stretches + 1))) / math.comb(num_a + num_b, num_a)
