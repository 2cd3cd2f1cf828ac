"""Whether runs of two sides were taken in turns: what a machine did between two days is no cost.

Of runs in turns a change of the machine falls on both sides alike. Where all of A come before all
of B it cannot be told from a change of what is run, however many runs there are.
"""

import datetime
import itertools
import math
from collections.abc import Sequence
from typing import NamedTuple

_UNLIKELY = 0.05


class Span(NamedTuple):
    """When a run began and ended, as reports write it: ISO 8601."""

    started_at: str
    finished_at: str


def are_apart(a: Sequence[Span], b: Sequence[Span]) -> bool:
    """Whether the sides change less often, in order of time, than those of a random order.

    At 5 %, by the number of stretches of one side; so of three runs a side nothing can be told.
    Unknown times tell nothing either.

    Source: Wald and Wolfowitz, On a test whether two samples are from the same population (1940).
    """
    order = _order(a, b)
    if order is None:
        return False
    sides = [side for _, _, side in order]
    changes = sum(one != other for one, other in itertools.pairwise(sides))
    return _chance_of_so_few(len(a), len(b), changes + 1) <= _UNLIKELY


def why_no_pairs(a: Sequence[Span], b: Sequence[Span]) -> str | None:
    """Returns why the first of A and the first of B, and so on, are no pairs; None if they are.

    Pairs lie one right after the other, in either order, and no two runs at the same time.
    """
    count = min(len(a), len(b))
    order = _order(a[:count], b[:count])
    if order is None:
        return "it is not known when the runs were taken"
    if any(later[0] < earlier[1] for earlier, later in itertools.pairwise(order)):
        return "runs were taken at the same time"
    sides = [side for _, _, side in order]
    if any(one == other for one, other in zip(sides[::2], sides[1::2], strict=True)):
        return "the runs were not taken in turns, so the machine may have changed between the sides"
    return None


def _order(
    a: Sequence[Span], b: Sequence[Span]
) -> list[tuple[datetime.datetime, datetime.datetime, str]] | None:
    """Returns all runs in order of time with their sides; None if a time cannot be read."""
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
    """Returns the chance of at most so many stretches in a random order of the runs."""

    def ways(count: int) -> int:
        half, rest = divmod(count, 2)
        more, less = half + rest - 1, half - 1  # cuts of the side that begins, and of the other
        return sum(
            math.comb(first - 1, more) * math.comb(second - 1, less)
            for first, second in ((num_a, num_b), (num_b, num_a))
        )

    return sum(map(ways, range(2, stretches + 1))) / math.comb(num_a + num_b, num_a)
