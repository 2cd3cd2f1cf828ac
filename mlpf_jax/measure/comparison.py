"""Two sets of measurements against each other: by what ratio they differ, and how sure that is.

All values are positive (rates, times, bytes) and their logarithms are compared, so the ratio of
times is the inverse of that of rates. Distribution-free: ranks, no normal noise. No JAX, no files.
"""

import bisect
import dataclasses
import functools
import math
from collections.abc import Sequence
from typing import Literal

import numpy as np
import scipy.special
from jaxtyping import Float

from mlpf_jax.measure import stats

Verdict = Literal["faster", "slower", "cannot tell"]

_REJECTED = 0.05  # the interval holds what a test at this level does not reject
_MOST_EXACT_PAIRS = 100
_MOST_EXACT_PRODUCT = 900
_LARGEST_LOG = 700.0
_SIMULATIONS = 4000
_MOST_SIMULATED_PAIRS = 40


@dataclasses.dataclass(frozen=True)
class Ratio:
    """The ratio b / a, its interval at 95 %, and the chance of one as far from 1 by noise alone.

    Where too few values can reject nothing, the interval reaches from 0 to infinity.
    """

    value: float
    low: float
    high: float
    p_value: float  # two-sided
    count: int  # pairs, or the values of the smaller side


def paired_ratio(a: Sequence[float], b: Sequence[float]) -> Ratio:
    """Returns the ratio of values that were measured in pairs, one of each side.

    It is the estimate of Hodges and Lehmann: the median over the means of any two logarithms of
    ratios, each with itself too. The interval holds every ratio that the signed-rank test of
    Wilcoxon, exact up to 100 pairs, does not reject; under six pairs that is every one.

    Pairs are taken as independent, so measure them in the order A B B A: a common drift cancels,
    and first-order noise leaves neighbouring pairs a correlation of at most 1/8 (simulated, at
    most 1.7 % of false alarms instead of 1 %).

    Raises:
        ValueError: for sides of different length, no pair, or a value that is not positive.

    Source: Hollander, Wolfe and Chicken, Nonparametric Statistical Methods, chapter 3.
    """
    logs_a, logs_b = _logs(a), _logs(b)
    if logs_a.size != logs_b.size:
        raise ValueError(f"cannot pair {logs_a.size} values with {logs_b.size}.")
    means = _walsh_averages((logs_b - logs_a)[None])[0]
    return _ratio(means, _signed_rank_null(logs_a.size), count=logs_a.size)


def independent_ratio(
    a: Sequence[float], b: Sequence[float], *, run_noise: float = 0.0, correlated: bool = True
) -> Ratio:
    """Returns the ratio of values that were measured apart.

    It is the estimate of Hodges and Lehmann: the median over the ratios of any value of b to any
    of a. The interval holds every ratio that the test of Mann and Whitney does not reject.

    Correlated values are those of one process a side, in order of time. The test's variance is
    then that of `stats.effective_count` values a side, with as many degrees of freedom less two.
    `run_noise` is the relative standard deviation from one process to the next, which they cannot
    show; it is added in quadrature. Not correlated are values of a process each: of those the test
    is exact (up to 900 ratios), and under four a side it can reject nothing.

    Raises:
        ValueError: for an empty side, a value that is not positive, or a negative `run_noise`.

    Source: Hollander, Wolfe and Chicken, Nonparametric Statistical Methods, chapter 4.
    """
    logs_a, logs_b = _logs(a), _logs(b)
    if run_noise < 0:
        raise ValueError(f"a run noise of {run_noise} is negative.")
    null = _rank_sum_null(logs_a.size, logs_b.size)
    if correlated:
        effective = stats.effective_count(a), stats.effective_count(b)
        variances = _rank_sum_variance(*effective), _rank_sum_variance(logs_a.size, logs_b.size)
        wider = math.sqrt(variances[0] / variances[1])
        null = dataclasses.replace(null, wider=wider, freedom=max(sum(effective) - 2, 1.0))
    shifts = np.sort((logs_b[:, None] - logs_a).ravel())
    ratio = _ratio(shifts, null, count=min(logs_a.size, logs_b.size))
    return _with_noise(ratio, math.sqrt(2) * run_noise) if run_noise else ratio


def verdict(ratio: Ratio, *, higher_is_better: bool = True, threshold: float = 0.0) -> Verdict:
    """Says whether b is faster or slower than a: significantly, and by more than the threshold.

    Significantly: the interval leaves 1 out. By more: the ratio is above 1 + threshold or below
    its inverse. `higher_is_better` is for rates; of times and bytes the lower ones are.
    """
    higher = ratio.low > 1 and ratio.value > 1 + threshold
    lower = ratio.high < 1 and ratio.value < 1 / (1 + threshold)
    if not (higher or lower):
        return "cannot tell"
    return "faster" if higher == higher_is_better else "slower"


def smallest_paired_p_value(num_pairs: int) -> float:
    """Returns the smallest two-sided p-value that the test of so many pairs can give."""
    return min(1.0, 2 * _signed_rank_null(num_pairs).lower_tail(0.0))


def smallest_independent_p_value(num_a: int, num_b: int) -> float:
    """Returns the smallest two-sided p-value that the test of so many values a side can give."""
    return min(1.0, 2 * _rank_sum_null(num_a, num_b).lower_tail(0.0))


def smallest_detectable_effect(
    sigma: float, num_pairs: int, *, false_alarm: float = 0.01, power: float = 0.95
) -> float:
    """Returns the smallest relative change that `paired_ratio` finds with at least that power.

    `sigma` is the standard deviation of the logarithm of one pair's ratio, normal noise; a finding
    is a two-sided p-value of at most `false_alarm`. Infinite where so few pairs can reject nothing.
    The needed shift is a quantile of how far the test's bound lies below the truth: over simulated
    pairs (fixed seed), and beyond 40 by normal theory with the test's efficiency, 3 / pi.

    Raises:
        ValueError: for a negative sigma, no pair, or rates that are not between 0 and 1.
    """
    if sigma < 0 or num_pairs < 1 or not 0 < false_alarm < 1 or not 0 < power < 1:
        raise ValueError(
            f"no effect for sigma {sigma}, {num_pairs} pairs, a false-alarm rate of {false_alarm} "
            f"and a power of {power}: rates lie between 0 and 1."
        )
    rejected = _signed_rank_null(num_pairs).most_rejected(false_alarm / 2)
    if rejected < 0:
        return math.inf
    if num_pairs > _MOST_SIMULATED_PAIRS:
        levels = np.array([1 - false_alarm / 2, power])
        quantiles = float(scipy.special.stdtrit(num_pairs - 1, levels).sum())
        return math.expm1(sigma * quantiles * math.sqrt(math.pi / (3 * num_pairs)))
    noise = np.random.default_rng(0).standard_normal((_SIMULATIONS, num_pairs))
    below = -_walsh_averages(noise)[:, rejected]
    return math.expm1(sigma * float(np.quantile(below, power)))


@dataclasses.dataclass(frozen=True)
class _Null:
    """How a rank statistic from 0 to twice its mean is distributed if nothing differs."""

    mean: float
    deviation: float
    cumulative: Float[np.ndarray, "values"] | None  # None: normal, as there are too many values
    wider: float = 1.0  # so many times the deviation, as values are correlated
    freedom: float = math.inf  # degrees of, where that was estimated

    def lower_tail(self, value: float) -> float:
        """Returns the chance of at most `value`."""
        value = self.mean - (self.mean - value) / self.wider
        if self.cumulative is None:
            tail = float(scipy.special.ndtr((value + 0.5 - self.mean) / self.deviation))
        else:
            tail = float(self.cumulative[min(math.ceil(value), self.cumulative.size - 1)])
        if math.isinf(self.freedom):
            return tail
        return float(scipy.special.stdtr(self.freedom, scipy.special.ndtri(min(tail, 1.0))))

    def most_rejected(self, level: float) -> int:
        """Returns the largest value with a lower tail of at most `level`, -1 if there is none."""
        below = range(math.ceil(self.mean))
        return bisect.bisect_right(below, level, key=lambda k: self.lower_tail(float(k))) - 1


def _ratio(shifts: Float[np.ndarray, "shifts"], null: _Null, *, count: int) -> Ratio:
    """Reads estimate, interval and p-value off the sorted single shifts of b against a."""
    rejected = null.most_rejected(_REJECTED / 2)
    bounded = rejected >= 0
    against = min(np.count_nonzero(shifts <= 0), np.count_nonzero(shifts >= 0))
    return Ratio(
        value=_exp(float(np.median(shifts))),
        low=_exp(shifts[rejected]) if bounded else 0.0,
        high=_exp(shifts[-1 - rejected]) if bounded else math.inf,
        p_value=min(1.0, 2 * null.lower_tail(float(against))),
        count=count,
    )


def _with_noise(ratio: Ratio, sigma: float) -> Ratio:
    """Adds normal noise of the ratio's logarithm, in quadrature to what is there."""
    if not ratio.low:  # unbounded, and remains so
        return ratio
    middle = math.log(ratio.value)
    below, above = middle - math.log(ratio.low), math.log(ratio.high) - middle
    normal = -float(scipy.special.ndtri(_REJECTED / 2))
    total = math.hypot((below if middle > 0 else above) / normal, sigma)
    return dataclasses.replace(
        ratio,
        low=_exp(middle - math.hypot(below, normal * sigma)),
        high=_exp(middle + math.hypot(above, normal * sigma)),
        p_value=max(ratio.p_value, 2 * float(scipy.special.ndtr(-abs(middle) / total))),
    )


def _logs(values: Sequence[float]) -> Float[np.ndarray, "values"]:
    array = np.asarray(values, np.float64)
    if not array.size or not np.all(np.isfinite(array) & (array > 0)):
        raise ValueError(f"cannot compare {list(values)}: it takes positive values, at least one.")
    return np.log(array)


def _exp(log: float) -> float:
    """Never infinite, which would tell of too few values."""
    return math.exp(min(log, _LARGEST_LOG))


def _walsh_averages(values: Float[np.ndarray, "sets values"]) -> Float[np.ndarray, "sets means"]:
    """Returns, sorted, the means of any two values of a set, each with itself too."""
    first, second = np.triu_indices(values.shape[1])
    return np.sort((values[:, first] + values[:, second]) / 2, axis=1)


@functools.cache
def _signed_rank_null(num_pairs: int) -> _Null:
    """The sum of the positive differences' ranks: every rank is in it or not, with equal chance."""
    most = num_pairs * (num_pairs + 1) // 2
    deviation = math.sqrt(most * (2 * num_pairs + 1) / 12)
    if num_pairs > _MOST_EXACT_PAIRS:
        return _Null(most / 2, deviation, None)
    chance = np.ones(1)
    for rank in range(1, num_pairs + 1):
        chance = (np.pad(chance, (0, rank)) + np.pad(chance, (rank, 0))) / 2
    return _Null(most / 2, deviation, np.cumsum(chance))


@functools.cache
def _rank_sum_null(num_a: int, num_b: int) -> _Null:
    """The number of pairs in which b is above a: the largest value of all is of one side or not."""
    most = num_a * num_b
    deviation = most * math.sqrt(_rank_sum_variance(num_a, num_b))
    if most > _MOST_EXACT_PRODUCT:
        return _Null(most / 2, deviation, None)
    rows = [np.ones(1)] * (num_b + 1)  # of no a and 0 to num_b values of b
    for of_a in range(1, num_a + 1):
        row = [np.ones(1)]
        for of_b in range(1, num_b + 1):
            largest_is_b = np.pad(row[of_b - 1], (of_a, 0)) * of_b
            largest_is_a = np.pad(rows[of_b], (0, of_b)) * of_a
            row.append((largest_is_a + largest_is_b) / (of_a + of_b))
        rows = row
    return _Null(most / 2, deviation, np.cumsum(rows[num_b]))


def _rank_sum_variance(num_a: int | float, num_b: int | float) -> float:
    """Of the share of pairs in which b is above a."""
    return (num_a + num_b + 1) / (12 * num_a * num_b)
