"""What samples say: the middle, the spread, how sure, and where the steady state begins.

NumPy and SciPy only: no JAX, no files.
"""

import dataclasses
import math
from collections.abc import Sequence

import numpy as np
import scipy.stats

_RESAMPLES = 9999
_CONFIDENCE = 0.95
_MAD_TO_SIGMA = 1.4826  # for normal noise the spread is then a standard deviation
_FEWEST_STEADY = 3


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

    It is the cut that makes the standard error of the mean of what follows smallest (the marginal
    standard error rule), at most half of the samples, with at least three left. So a heap that
    grows for four steps is cut, and a slow sample in the middle is not. Only a cut that makes the
    rest faster counts: a machine that slows down is not warming up, and its fast start would
    flatter it no less than its slow one would hurt it.

    Source: White, "An effective truncation heuristic for bias reduction in simulation output",
    Simulation 69 (1997) 323.
    """
    values = np.asarray(step_s, np.float64)
    most = min(len(values) // 2, len(values) - _FEWEST_STEADY)
    best, best_error = 0, math.inf
    for cut in range(max(most, 0) + 1):
        rest = values[cut:]
        error = float(rest.var()) / len(rest)
        faster = cut == 0 or values[:cut].mean() > rest.mean()
        if faster and error < best_error:
            best, best_error = cut, error
    return best
