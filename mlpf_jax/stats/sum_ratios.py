"""The ratio of two sums over blocks of a series, with its interval.

NumPy and SciPy only: no JAX, no files.
"""

import dataclasses
import math
from collections.abc import Sequence

import numpy as np
import scipy.stats

from mlpf_jax.stats import summaries

_CONFIDENCE = 0.95
_FEWEST = 3  # blocks
_CAUTION = 0.5  # standard errors by which the correlation may be larger than estimated


@dataclasses.dataclass(frozen=True)
class SumRatio:
    """A ratio of sums. The 95 % interval is None if there are too few blocks to estimate it."""

    value: float
    low: float | None
    high: float | None


def sum_ratio(numerators: Sequence[float], denominators: Sequence[float]) -> SumRatio:
    """Returns the sum of the numerators over the sum of the denominators.

    The interval is Student's, from the residuals of as many independent blocks as these are worth.
    Few blocks show too little of their correlation, so half a standard error is added to it. In
    simulations the interval held the true ratio in 94 % of cases or more with a correlation of up
    to 0.5 between neighbours, and with 0.8 in 86 to 96 %: docs/statistics.md.

    Raises:
        ValueError: if the sum of the denominators is not positive.

    Source: Cochran, Sampling Techniques (1977), section 6.3.
    """
    tops, bottoms = np.asarray(numerators, np.float64), np.asarray(denominators, np.float64)
    total = float(bottoms.sum())
    if not total > 0:
        raise ValueError(f"the sum of {list(denominators)} must be positive.")
    value = float(tops.sum()) / total
    if tops.size < _FEWEST:
        return SumRatio(value, None, None)
    residuals = tops - value * bottoms
    effective = _cautious_count(residuals.tolist())
    error = float(residuals.std(ddof=1)) * tops.size / math.sqrt(effective) / total
    freedom = max(effective - 1, 1.0)
    reach = float(scipy.stats.t.ppf((1 + _CONFIDENCE) / 2, freedom)) * error
    return SumRatio(value, value - reach, value + reach)


def _cautious_count(residuals: Sequence[float]) -> float:
    """Returns the equivalent number of independent blocks, with a correlation on the safe side."""
    count = len(residuals)
    time = count / summaries.effective_count(residuals)
    neighbours = (time - 1) / (time + 1)
    neighbours += _CAUTION * math.sqrt((1 - neighbours**2) / count)
    neighbours = min(neighbours, 1 - 2 / count)
    return count * (1 - neighbours) / (1 + neighbours)
