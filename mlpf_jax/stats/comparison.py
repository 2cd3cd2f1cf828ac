"""Two sets of measurements against each other: by what ratio they differ, and how sure that is.

All values are positive (rates, times, bytes) and their logarithms are compared, so the ratio of
times is the inverse of that of rates. Distribution-free: ranks, no normal noise. No JAX, no files.
"""

import dataclasses
import math
from collections.abc import Sequence
from typing import Literal

import numpy as np
import scipy.special
from jaxtyping import Float

from mlpf_jax.stats import rank_tests, summaries

Verdict = Literal["faster", "slower", "cannot tell"]

_REJECTED = 0.05  # the interval holds what a test at this level does not reject
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
    return _ratio(means, rank_tests.signed_rank(logs_a.size), count=logs_a.size)


def independent_ratio(
    a: Sequence[float], b: Sequence[float], *, run_noise: float = 0.0, correlated: bool = True
) -> Ratio:
    """Returns the ratio of values that were measured apart.

    It is the estimate of Hodges and Lehmann: the median over the ratios of any value of b to any
    of a. The interval holds every ratio that the test of Mann and Whitney does not reject.

    Correlated values are those of one process a side, in order of time. The test's variance is
    then that of `stats.effective_count` values a side, and one less than their mean are the degrees
    of freedom, for the counts are estimates (simulated with a correlation of 0.6 and outliers: at
    most 4.1 % of false alarms at 5 %, 0.9 % at 1 %).
    `run_noise` is the relative standard deviation from one process to the next, which they cannot
    show; it is added in quadrature. Not correlated are values of a process each: of those the test
    is exact (up to 900 ratios), and four a side are the fewest of which it can reject anything.

    Raises:
        ValueError: for an empty side, a value that is not positive, or an impossible `run_noise`.

    Source: Hollander, Wolfe and Chicken, Nonparametric Statistical Methods, chapter 4.
    """
    logs_a, logs_b = _logs(a), _logs(b)
    if not 0 <= run_noise < math.inf:
        raise ValueError(f"a run noise of {run_noise} is no standard deviation.")
    null = rank_tests.rank_sum(logs_a.size, logs_b.size)
    if correlated:
        effective = summaries.effective_count(a), summaries.effective_count(b)
        variances = (
            rank_tests.rank_sum_variance(*effective),
            rank_tests.rank_sum_variance(logs_a.size, logs_b.size),
        )
        wider = math.sqrt(variances[0] / variances[1])
        null = dataclasses.replace(null, wider=wider, freedom=max(sum(effective) / 2 - 1, 1.0))
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
    return min(1.0, 2 * rank_tests.signed_rank(num_pairs).lower_tail(0.0))


def smallest_independent_p_value(num_a: int, num_b: int) -> float:
    """Returns the smallest two-sided p-value that the test of so many values a side can give."""
    return min(1.0, 2 * rank_tests.rank_sum(num_a, num_b).lower_tail(0.0))


def are_enough_pairs(num_pairs: int) -> bool:
    """Whether a test at 5 % of so many pairs can reject anything."""
    return smallest_paired_p_value(num_pairs) <= _REJECTED


def are_enough_processes(num_a: int, num_b: int) -> bool:
    """Whether a test at 5 % of so many values, one of each process, can reject anything."""
    return smallest_independent_p_value(num_a, num_b) <= _REJECTED


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
    rejected = rank_tests.signed_rank(num_pairs).most_rejected(false_alarm / 2)
    if rejected < 0:
        return math.inf
    if num_pairs > _MOST_SIMULATED_PAIRS:
        levels = np.array([1 - false_alarm / 2, power])
        quantiles = float(scipy.special.stdtrit(num_pairs - 1, levels).sum())
        return math.expm1(sigma * quantiles * math.sqrt(math.pi / (3 * num_pairs)))
    noise = np.random.default_rng(0).standard_normal((_SIMULATIONS, num_pairs))
    below = -_walsh_averages(noise)[:, rejected]
    return math.expm1(sigma * float(np.quantile(below, power)))


def _ratio(shifts: Float[np.ndarray, "shifts"], null: rank_tests.Null, *, count: int) -> Ratio:
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
