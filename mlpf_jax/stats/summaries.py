"""What samples say: the middle, the spread, how sure, any drift, and where the steady state begins.

NumPy and SciPy only: no JAX, no files.
"""

import dataclasses
import math
from collections.abc import Sequence
from typing import Literal

import numpy as np
import scipy.special
import scipy.stats
from jaxtyping import Float

_CONFIDENCE = 0.95
_FEWEST_STEADY = 3
_WARM_UP_SPREADS, _WARM_UP_SHARE = 5.0, 0.1
_WARM_UP_FEW = 6  # of so many samples the spread counts twice, for it may be too small by chance
_WARM_UP_CHANCE = 0.05
_FEWEST_FOR_DRIFT = 10
# The variance of the test is itself an estimate. Simulated with up to 0.6 of correlation between
# neighbours and with outliers, at most 1 % of steady series fall under half of that.
_DRIFT_P_VALUE = 0.005
_DRIFT_SHARE = 0.02
_CORRELATED_P_VALUE = 0.01


@dataclasses.dataclass(frozen=True)
class Summary:
    """Some values in a few numbers. The interval is of the median, at 95 %.

    The interval allows for the estimated correlation always, for a wide interval is the safe error.
    Of few values the estimate says little: of nine independent ones, every seventh series is
    estimated to be worth fewer than four. `is_correlated` says whether there is evidence of it.
    """

    avg: float
    median: float
    min: float
    max: float
    count: int
    spread: float  # 1.4826 times the median absolute deviation
    interval_low: float
    interval_high: float
    effective_count: float  # as many independent values would say as much, by estimate
    correlation_p_value: float  # one-sided, of independent values that follow each other as closely

    @property
    def is_correlated(self) -> bool:
        """Whether neighbours are closer than those of 99 % of independent series are."""
        return self.correlation_p_value < _CORRELATED_P_VALUE


@dataclasses.dataclass(frozen=True)
class Drift:
    """Whether values went up or down with time."""

    change: float  # from the first value to the last, as a share of the median
    p_value: float  # of there being none
    verdict: Literal["none", "drifting", "too few samples"]


def summarize(values: Sequence[float]) -> Summary:
    """Summarises at least one finite value; of a single one the interval is the value itself.

    The interval is the percentile bootstrap of the median with as many draws in a resample as
    there are independent values (`effective_count`), so autocorrelation widens it. Of a median the
    bootstrap needs no random numbers: that of m draws is the quantile of the values at a share
    that follows Beta((m + 1) / 2, (m + 1) / 2). Simulated, 30 values with a correlation of 0.6
    between neighbours leave it 92 % instead of 95 %, and 10 such values 88 %.

    Raises:
        ValueError: without values, or with one that is not finite.

    Source: Efron, Ann. Stat. 7 (1979) 1; Maritz and Jarrett, JASA 73 (1978) 194.
    """
    array = _finite(values)
    median = float(np.median(array))
    effective = effective_count(values)
    low, high = _median_interval(array, effective)
    return Summary(
        avg=float(array.mean()),
        median=median,
        min=float(array.min()),
        max=float(array.max()),
        count=array.size,
        spread=spread(array),
        interval_low=low,
        interval_high=high,
        effective_count=effective,
        correlation_p_value=correlation_p_value(values),
    )


def spread(values: Sequence[float] | Float[np.ndarray, "values"]) -> float:
    """Returns the median absolute deviation, scaled to the standard deviation of normal noise.

    Raises:
        ValueError: without values, or with one that is not finite.
    """
    return float(scipy.stats.median_abs_deviation(_finite(values), scale="normal"))


def effective_count(values: Sequence[float]) -> float:
    """Returns how many independent values would say as much, between 1 and their number.

    That is their number over the correlation time of their ranks: ranks, so that outliers neither
    hide a correlation nor make one, and rates count as their times do. Equal values count fully.

    Raises:
        ValueError: without values, or with one that is not finite.
    """
    array = _finite(values)
    return array.size / _correlation_time(array)


def correlation_p_value(values: Sequence[float]) -> float:
    """Returns how often independent values are, by chance, as close to their neighbours as these.

    It is the rank version of von Neumann's ratio, the squared differences of neighbouring ranks
    over the variance of all, one-sided, with Bartels' beta distribution: from six values on, 0.8 to
    1.1 % of independent series are under 0.01. A drift is a correlation, too. Of fewer than four
    values, or equal ones, it is 1.

    Raises:
        ValueError: without values, or with one that is not finite.

    Source: Bartels, JASA 77 (1982) 40.
    """
    array = _finite(values)
    count = array.size
    if count <= _FEWEST_STEADY or not np.ptp(array):
        return 1.0
    ranks = scipy.stats.rankdata(array) - (count + 1) / 2
    ratio = float(np.sum(np.diff(ranks) ** 2) / np.sum(ranks**2))
    freedom = 5 * count * (count + 1) * (count - 1) ** 2
    shape = freedom / (2 * (count - 2) * (5 * count**2 - 2 * count - 9)) - 0.5
    return float(scipy.special.betainc(shape, shape, min(ratio / 4, 1.0)))


def drift(values: Sequence[float]) -> Drift:
    """Tells whether values taken one after the other went up or down, on the whole.

    The change is the slope of Theil and Sen over all values. Drifting is what is both significant
    by the test of Mann and Kendall, at 1 %, and more than 2 %. The correlation time of what is
    left without the slope raises the test's variance, and the effective number of values is the
    number of degrees of freedom. Too few are under ten, and those so correlated that even a
    series that only rises would not be significant.

    Raises:
        ValueError: without values, or with one that is not finite.

    Source: Yue and Wang, Water Resour. Manag. 18 (2004) 201, with Student's t.
    """
    array = _finite(values)
    if array.size < _FEWEST_FOR_DRIFT:
        return Drift(0.0, 1.0, "too few samples")
    place = np.arange(array.size)
    slope = float(scipy.stats.theilslopes(array, place).slope)
    middle = abs(float(np.median(array)))
    change = slope * (array.size - 1) / middle if middle else 0.0
    time = _correlation_time(array - slope * place, num_fitted=2)
    tau = float(scipy.stats.kendalltau(place, array).statistic) if np.ptp(array) else 0.0
    p_value = _trend_p_value(tau, array.size, time)
    if _trend_p_value(1.0, array.size, time) >= _DRIFT_P_VALUE:
        return Drift(change, p_value, "too few samples")
    drifts = p_value < _DRIFT_P_VALUE and abs(change) > _DRIFT_SHARE
    return Drift(change, p_value, "drifting" if drifts else "none")


def steady_start(step_s: Sequence[float]) -> int:
    """Returns the number of samples before the steady state, by a fixed rule.

    It is the largest number, at most half of all and with three left, of leading samples that are
    each slower than the median of all that follow by more than a tenth and by more than five of
    their spreads (5 + 30 / n, of n that follow). So a heap that grows for four steps is cut, while
    a slow sample further on, a fast start, a steady trend and plain noise are not: cutting those
    would flatter the machine. Nor is anything cut if as slow ones follow, so many that by chance
    alone, in more than one of twenty orders, none but slow ones would lead.
    """
    values = np.asarray(step_s, np.float64)
    most = min(values.size // 2, values.size - _FEWEST_STEADY)
    for num_cut in range(most, 0, -1):
        later = values[num_cut:]
        middle = float(np.median(later))
        limit = middle + _WARM_UP_SHARE * middle
        if np.min(values[:num_cut]) <= limit:  # mostly so, and the spread takes long to compute
            continue
        num_spreads = _WARM_UP_SPREADS * (1 + _WARM_UP_FEW / later.size)
        limit = max(limit, middle + num_spreads * spread(later))
        if np.all(values[:num_cut] > limit):
            num_slow = num_cut + np.count_nonzero(later > limit)
            chance = math.comb(num_slow, num_cut) / math.comb(values.size, num_cut)
            return num_cut if num_slow == num_cut or chance <= _WARM_UP_CHANCE else 0
    return 0


def _finite(values: Sequence[float] | Float[np.ndarray, "values"]) -> Float[np.ndarray, "values"]:
    array = np.asarray(values, np.float64)
    if not array.size or not np.all(np.isfinite(array)):
        raise ValueError(f"cannot summarise {list(values)}: it takes finite values, at least one.")
    return array


def _median_interval(array: Float[np.ndarray, "values"], effective: float) -> tuple[float, float]:
    """The plotting positions i / (n + 1) are those at which coverage is nearest to what is said."""
    shape = (effective + 1) / 2
    share = scipy.special.betaincinv(shape, shape, (1 - _CONFIDENCE) / 2)
    low, high = np.quantile(array, [share, 1 - share], method="weibull")
    return float(low), float(high)


def _correlation_time(array: Float[np.ndarray, "values"], num_fitted: int = 1) -> float:
    """Returns the integrated autocorrelation time of the ranks, in samples, from 1 to their number.

    It is the larger of two. One is the initial monotone sequence: neighbouring pairs of
    autocorrelations are summed while they are positive, none counting more than the one before.
    That falls short for few values, as fitting their mean, or a line (`num_fitted` 2), takes
    correlation away. The other is the time of first-order noise with the correlation of direct
    neighbours, where it is known how much that is.

    Source: Geyer, Stat. Sci. 7 (1992) 473; Kendall, Biometrika 41 (1954) 403.
    """
    count = array.size
    ranks = scipy.stats.rankdata(array) - (count + 1) / 2
    covariance = np.fft.irfft(np.abs(np.fft.rfft(ranks, 2 * count)) ** 2)[:count]
    if count <= _FEWEST_STEADY or not np.any(ranks):
        return 1.0
    correlation = covariance / covariance[0]
    pairs = correlation[: count // 2 * 2].reshape(-1, 2).sum(axis=1)
    ended = np.flatnonzero(pairs <= 0)
    pairs = pairs[: ended[0]] if ended.size else pairs
    summed = 2 * float(np.minimum.accumulate(pairs).sum()) - 1
    neighbours = float(correlation[1])
    neighbours += (num_fitted + (num_fitted + 3) * max(neighbours, 0.0)) / count
    neighbours = min(max(neighbours, 0.0), 1 - 2 / count)
    return min(max(summed, (1 + neighbours) / (1 - neighbours)), float(count))


def _trend_p_value(tau: float, count: int, correlation_time: float) -> float:
    """Two-sided, of Kendall's tau between values and their places."""
    variance = 2 * (2 * count + 5) / (9 * count * (count - 1)) * correlation_time
    freedom = max(count / correlation_time - 2, 1.0)
    return 2 * float(scipy.special.stdtr(freedom, -abs(tau) / math.sqrt(variance)))
