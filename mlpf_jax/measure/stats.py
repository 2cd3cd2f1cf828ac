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
_MAD_TO_SIGMA = 1.4826  # for normal noise the spread is then a standard deviation
_FEWEST_STEADY = 3
_WARM_UP_SPREADS, _WARM_UP_SHARE = 5.0, 0.1
_FEWEST_FOR_DRIFT = 10
_DRIFT_P_VALUE, _DRIFT_SHARE = 0.01, 0.02


@dataclasses.dataclass(frozen=True)
class Summary:
    """Some values in a few numbers. The interval is of the median, at 95 %."""

    avg: float
    median: float
    min: float
    max: float
    count: int
    spread: float  # 1.4826 times the median absolute deviation
    interval_low: float
    interval_high: float
    effective_count: float  # as many independent values would say as much


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
    that follows Beta((m + 1) / 2, (m + 1) / 2).

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
        spread=_MAD_TO_SIGMA * median_absolute_deviation(values),
        interval_low=low,
        interval_high=high,
        effective_count=effective,
    )


def median_absolute_deviation(values: Sequence[float]) -> float:
    """Returns the median distance from the median, unscaled; 1.4826 times that is `spread`.

    Raises:
        ValueError: without values, or with one that is not finite.
    """
    array = _finite(values)
    return float(np.median(np.abs(array - np.median(array))))


def effective_count(values: Sequence[float]) -> float:
    """Returns how many independent values would say as much, between 1 and their number.

    That is their number over the correlation time of their ranks: ranks, so that outliers neither
    hide a correlation nor make one, and rates count as their times do. Equal values count fully.

    Raises:
        ValueError: without values, or with one that is not finite.
    """
    array = _finite(values)
    return array.size / _correlation_time(array)


def drift(values: Sequence[float]) -> Drift:
    """Tells whether values taken one after the other went up or down, on the whole.

    The change is the slope of Theil and Sen over all values. Drifting is what is both significant
    at 1 %, by the test of Mann and Kendall, and more than 2 %. What is left after the slope is
    taken out gives the correlation time by which the variance of the test is raised. Under ten
    values are too few.

    Raises:
        ValueError: without values, or with one that is not finite.

    Source: Yue and Wang, Water Resour. Manag. 18 (2004) 201.
    """
    array = _finite(values)
    if array.size < _FEWEST_FOR_DRIFT:
        return Drift(0.0, 1.0, "too few samples")
    place = np.arange(array.size)
    slope = float(scipy.stats.theilslopes(array, place).slope)
    middle = float(np.median(array))
    change = slope * (array.size - 1) / abs(middle) if middle else 0.0
    time = _correlation_time(array - slope * place)
    p_value = _trend_p_value(array, time)
    significant = p_value < _DRIFT_P_VALUE and abs(change) > _DRIFT_SHARE
    return Drift(change, p_value, "drifting" if significant else "none")


def steady_start(step_s: Sequence[float]) -> int:
    """Returns the number of samples before the steady state, by a fixed rule.

    These are the leading samples that are each slower than the median of the second half by more
    than five of its spreads and by more than a tenth; at most half of all, and three are left. So
    a heap that grows for four steps is cut, while a slow sample further on, a fast start and plain
    noise are not: cutting those would flatter the machine.
    """
    values = np.asarray(step_s, np.float64)
    most = min(len(values) // 2, len(values) - _FEWEST_STEADY)
    if most < 1:
        return 0
    later = values[len(values) // 2 :]
    middle = np.median(later)
    spread = _MAD_TO_SIGMA * np.median(np.abs(later - middle))
    slow = values[:most] > middle + max(_WARM_UP_SPREADS * spread, _WARM_UP_SHARE * middle)
    return most if slow.all() else int(np.argmin(slow))


def _finite(values: Sequence[float]) -> Float[np.ndarray, "values"]:
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


def _correlation_time(array: Float[np.ndarray, "values"]) -> float:
    """Returns the integrated autocorrelation time of the ranks, in samples, from 1 to their number.

    The sum ends by the initial monotone sequence: neighbouring pairs of autocorrelations are added
    while they are positive, none counting more than the one before. As the mean is estimated from
    the same values every autocorrelation is low by about the time over the number of values; that
    much is given back once.

    Source: Geyer, Stat. Sci. 7 (1992) 473.
    """
    ranks = scipy.stats.rankdata(array) - (array.size + 1) / 2
    spectrum = np.fft.rfft(ranks, 2 * array.size)
    covariance = np.fft.irfft(np.abs(spectrum) ** 2)[: array.size]
    if covariance[0] <= 0:  # all are equal
        return 1.0
    correlation = covariance / covariance[0]
    bias = min(_summed(correlation) / array.size, 0.5)
    return min(_summed((correlation + bias) / (1 + bias)), float(array.size))


def _summed(correlation: Float[np.ndarray, "lags"]) -> float:
    pairs = correlation[: correlation.size // 2 * 2].reshape(-1, 2).sum(axis=1)
    ended = np.flatnonzero(pairs <= 0)
    pairs = pairs[: ended[0]] if ended.size else pairs
    return max(1.0, 2 * float(np.minimum.accumulate(pairs).sum()) - 1)


def _trend_p_value(array: Float[np.ndarray, "values"], correlation_time: float) -> float:
    count = array.size
    tau = float(scipy.stats.kendalltau(np.arange(count), array).statistic)
    if not math.isfinite(tau):  # all are equal
        return 1.0
    deviation = math.sqrt(2 * (2 * count + 5) / (9 * count * (count - 1)) * correlation_time)
    return float(2 * scipy.stats.norm.sf(abs(tau) / deviation))
