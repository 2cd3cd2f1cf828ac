"""Where a series of measurements changed its level for good. NumPy and SciPy only, no files."""

from collections.abc import Sequence

import numpy as np
import scipy.stats
from jaxtyping import Float

_PERMUTATIONS = 1999


def change_points(values: Sequence[float], *, false_alarm: float = 0.01) -> list[int]:
    """Returns the index of the first value of every new level, in order; none if there is none.

    The series is cut where the values before and after differ most by the test of Mann and
    Whitney, if fewer than `false_alarm` of its permutations (fixed seed) are cut as clearly
    anywhere; then each side likewise. Only ranks count, so an outlier is one value and no level,
    and the noise may have any distribution, but its values are taken as independent of each other.

    Raises:
        ValueError: with a value that is not finite, or a rate that is not between 0 and 1.

    Source: Pettitt, Appl. Stat. 28 (1979) 126, with its statistic standardised at every place;
    the bisection by permutations is that of Matteson and James, JASA 109 (2014) 334.
    """
    array = np.asarray(values, np.float64)
    if not np.all(np.isfinite(array)) or not 0 < false_alarm < 1:
        raise ValueError(
            f"no change points of {list(values)} at a rate of {false_alarm}: it takes finite "
            "values, and a rate between 0 and 1."
        )
    found = []
    parts = [(0, array.size)]
    while parts:
        start, end = parts.pop()
        cut = _cut(array[start:end], false_alarm)
        if cut is not None:
            found.append(start + cut)
            parts += [(start, start + cut), (start + cut, end)]
    return sorted(found)


def _cut(values: Float[np.ndarray, "values"], false_alarm: float) -> int | None:
    if values.size < 2:
        return None
    ranks = scipy.stats.rankdata(values) - (values.size + 1) / 2
    clarity = _clarity(ranks[None])[0]
    shuffled = np.random.default_rng(0).permuted(np.tile(ranks, (_PERMUTATIONS, 1)), axis=1)
    as_clear = np.count_nonzero(_clarity(shuffled).max(axis=1) >= clarity.max() - 1e-9)
    p_value = (1 + as_clear) / (1 + _PERMUTATIONS)
    return int(np.argmax(clarity)) + 1 if p_value <= false_alarm else None


def _clarity(ranks: Float[np.ndarray, "series values"]) -> Float[np.ndarray, "series places"]:
    """Returns how far the rank sum before every place lies from its mean, over its deviation.

    Of ranks less their mean, up to a factor that is the same for all permutations.
    """
    count = ranks.shape[1]
    before = np.arange(1, count)
    sums = np.cumsum(ranks, axis=1)[:, :-1]
    return np.abs(sums) / np.sqrt(before * (count - before))
