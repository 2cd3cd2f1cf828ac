"""Where a series of measurements changed its level for good. NumPy and SciPy only, no files."""

import itertools
import math
from collections.abc import Sequence

import numpy as np
import scipy.stats
from jaxtyping import Float

_BEYOND = 10  # permutations that may be as clear, at the rate of one search


def change_points(values: Sequence[float], *, false_alarm: float = 0.01) -> list[int]:
    """Returns the index of the first value of every new level, in order; none if there is none.

    A series is cut where the values before and after differ most by the test of Mann and Whitney,
    if fewer than half of `false_alarm` of its permutations (fixed seed) show as clear a step. If
    not, a run of neighbours that differs from all the rest is sought and judged likewise: a level
    that came and went hides from a search for steps. The parts are searched in the same way. In
    the end, change points go whose neighbouring levels do not differ at the rate asked for.

    Only ranks count, so an outlier is one value and no level, and the noise may have any
    distribution, but its values are taken as independent. A new level needs about five values.
    A change point is then placed where the values lie nearest to the medians of both levels.

    Raises:
        ValueError: with a value that is not finite, or a rate that is not between 0 and 1.

    Source: Pettitt, Appl. Stat. 28 (1979) 126, and Olshen, Venkatraman, Lucito and Wigler,
    Biostatistics 5 (2004) 557, on ranks.
    """
    array = np.asarray(values, np.float64)
    if not np.all(np.isfinite(array)) or not 0 < false_alarm < 1:
        raise ValueError(
            f"no change points of {list(values)} at a rate of {false_alarm}: it takes finite "
            "values, and a rate between 0 and 1."
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
    """Returns where the clearest step is, or a run begins and ends, but not the ends of the values.

    The first series is the one asked about, the others are its permutations.
    """
    if values.size < 2:
        return []
    rate = false_alarm / 2  # of each of two searches
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
    """The values are closed to a ring: runs longer than half of it are what the others leave."""
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
    """Whether at most that share of all series, itself included, is as clear as the first."""
    return bool(np.mean(clarity >= clarity[0] * (1 - 1e-6)) <= rate)


def _confirmed(
    array: Float[np.ndarray, "values"], cuts: list[int], false_alarm: float
) -> list[int]:
    """Drops the least sure cut until the levels on both sides of every one differ."""
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
    """Moves every cut between its neighbours to the least sum of distances from the two medians.

    Ranks do not know how near a value lies to a level, and cut beside the place when it is high or
    low for its own.
    """
    edges = [0, *cuts, array.size]
    for i in range(1, len(edges) - 1):
        part, cut = array[edges[i - 1] : edges[i + 1]], edges[i] - edges[i - 1]
        nearer = np.abs(part - np.median(part[:cut])) - np.abs(part - np.median(part[cut:]))
        excess = np.cumsum(nearer)[:-1]  # of a cut after every value
        if excess.min() < excess[cut - 1]:
            edges[i] = edges[i - 1] + int(np.argmin(excess)) + 1
    return edges[1:-1]
