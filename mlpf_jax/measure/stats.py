"""What samples say: the middle, the spread, how sure, and where the steady state begins.

NumPy and SciPy only: no JAX, no files.
"""

import dataclasses
from collections.abc import Sequence

import numpy as np
import scipy.stats

_RESAMPLES = 9999
_CONFIDENCE = 0.95
_MAD_TO_SIGMA = 1.4826  # for normal noise the spread is then a standard deviation
_FEWEST_STEADY = 3
_WARM_UP_SPREADS, _WARM_UP_SHARE = 5.0, 0.1


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


def summarize(values: Sequence[float]) -> Summary:
    """Summarises at least one finite value; of a single one the interval is the value itself.

    The interval is a percentile bootstrap with a fixed seed: the same values always give the same
    one. It takes the values as independent; slow drifts make it too narrow.

    Raises:
        ValueError: without values, or with one that is not finite.
    """
    array = np.asarray(values, np.float64)
    if not array.size or not np.all(np.isfinite(array)):
        raise ValueError(f"cannot summarise {list(values)}: it takes finite values, at least one.")
    median = float(np.median(array))
    low, high = median, median
    if array.size > 1:
        interval = scipy.stats.bootstrap(
            (array,),
            np.median,
            n_resamples=_RESAMPLES,
            confidence_level=_CONFIDENCE,
            method="percentile",
            rng=np.random.default_rng(0),
        ).confidence_interval
        low, high = float(interval.low), float(interval.high)
    return Summary(
        avg=float(array.mean()),
        median=median,
        min=float(array.min()),
        max=float(array.max()),
        count=array.size,
        spread=_MAD_TO_SIGMA * float(np.median(np.abs(array - median))),
        interval_low=low,
        interval_high=high,
    )


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
