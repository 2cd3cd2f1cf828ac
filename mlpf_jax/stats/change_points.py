"""Detects permanent level changes in a series of measurements. NumPy and SciPy only, no files."""

import itertools
import math
from collections.abc import Sequence

import numpy as np
import scipy.stats
from jaxtyping import Float

_BEYOND = 10  # permutations allowed to show as clear a step, at the rate of one search


def change_points(values: Sequence[float], *, false_alarm: float = 0.01) -> list[int]:
    """Returns the index of the first value of every new level, in order; none if there is none.

    The search splits the series where the values before and after differ most by the Mann-Whitney
    test, if fewer than `false_alarm / 2` of its permutations (fixed seed) show as clear a step.
    Otherwise it looks for a run of neighbours that differs from all other values, by the same
    criterion, because a search for single steps misses a temporary change of level. It then
    searches each part in the same way. Finally it removes change points whose neighbouring levels
    do not differ significantly at `false_alarm`.

    The search uses ranks only. A single outlier is therefore not a new level, and the noise may
    have any distribution, but it must be independent from value to value. A new level needs about
    five values. Each change point is placed where the values lie nearest to the medians of both
    levels.

    Raises:
        ValueError: if a value is not finite, or `false_alarm` is not between 0 and 1.

    Source: Pettitt, Appl. Stat. 28 (1979) 126, and Olshen, Venkatraman, Lucito and Wigler,
    Biostatistics 5 (2004) 557, applied to ranks.
    """
    array = np.asarray(values, np.float64)
    if not np.all(np.isfinite(array)) or not 0 < false_alarm < 1:
        raise ValueError(
            f"cannot search {list(values)} for change points at a false-alarm rate of "
            f"{false_alarm}: values must be finite, and the rate between 0 and 1."
        )
    found = set()
    parts = [(0, array.size)]
    while parts:
        start, end = parts.pop()
        part = array[start:end]
        cuts = [start + cut for cut in _placed(part, _cuts(part, false_alarm))]
        if cuts:
            found.update(cuts)
            edges = [start, *cuts, end]
            parts += itertools.pairwise(edges)
    return _placed(array, _confirmed(array, sorted(found), false_alarm))


def _cuts(values: Float[np.ndarray, "values"], false_alarm: float) -> list[int]:
    """Returns the index of the clearest step, or the start and end of a run, excluding the ends.

    Row 0 is the series under test, the other rows are its permutations.
    """
    if values.size < 2:
        return []
    rate = false_alarm / 2  # for each of two searches
    ranks = scipy.stats.rankdata(values) - (values.size + 1) / 2
    series = np.tile(ranks.astype(np.float32), (math.ceil(_BEYOND / rate), 1))
    series[1:] = np.random.default_rng(0).permuted(series[1:], axis=1)
    step = _step(series, rate)
    return _run(series, rate) if step is None else [step]


def _step(series: Float[np.ndarray, "series values"], rate: float) -> int | None:
    count = series.shape[1]
    before = np.arange(1, count)
    sums = np.abs(np.cumsum(series, axis=1)[:, :-1])
    clarity = sums / np.sqrt(before * (count - before))
    return int(np.argmax(clarity[0])) + 1 if _is_rare(clarity.max(axis=1), rate) else None


def _run(series: Float[np.ndarray, "series values"], rate: float) -> list[int]:
    """Treats the values as a ring, so a run longer than half is the complement of a shorter one."""
    count = series.shape[1]
    sums = np.cumsum(np.concatenate([np.zeros_like(series[:, :1]), series, series], axis=1), axis=1)
    clearest, run = np.zeros(len(series)), (0, 0)
    for length in range(1, count // 2 + 1):
        inside = np.abs(sums[:, length : length + count] - sums[:, :count])
        clarity = inside.max(axis=1) / math.sqrt(length * (count - length))
        if clarity[0] > clearest[0]:
            begin = int(np.argmax(inside[0]))
            run = begin, (begin + length) % count
        clearest = np.maximum(clearest, clarity)
    return sorted(set(run) - {0}) if _is_rare(clearest, rate) else []


def _is_rare(clarity: Float[np.ndarray, "series"], rate: float) -> bool:
    """Whether at most a share `rate` of all series, with the first, is as clear as the first."""
    return bool(np.mean(clarity >= clarity[0] * (1 - 1e-6)) <= rate)


def _confirmed(
    array: Float[np.ndarray, "values"], cuts: list[int], false_alarm: float
) -> list[int]:
    """Removes the least significant cut until the levels on both sides of every cut differ."""
    while cuts:
        edges = [0, *cuts, array.size]
        p_values = [
            float(scipy.stats.mannwhitneyu(array[low:cut], array[cut:high]).pvalue)
            for low, cut, high in zip(edges[:-2], cuts, edges[2:], strict=True)
        ]
        worst = int(np.argmax(p_values))
        if p_values[worst] <= false_alarm:
            break
        cuts = cuts[:worst] + cuts[worst + 1 :]
    return cuts


def _placed(array: Float[np.ndarray, "values"], cuts: list[int]) -> list[int]:
    """Moves every cut to minimise the sum of distances from the medians of the two levels.

    Ranks ignore how near a value lies to a level, so a rank-based cut can be off by a few values
    when a value next to it is unusually high or low for its level.
    """
    edges = [0, *cuts, array.size]
    for i in range(1, len(edges) - 1):
        part, cut = array[edges[i - 1] : edges[i + 1]], edges[i] - edges[i - 1]
        nearer = np.abs(part - np.median(part[:cut])) - np.abs(part - np.median(part[cut:]))
        excess = np.cumsum(nearer)[:-1]  # if the cut came after that value
        if excess.min() < excess[cut - 1]:
            edges[i] = edges[i - 1] + int(np.argmin(excess)) + 1
    return edges[1:-1]
