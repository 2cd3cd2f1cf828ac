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
_FEWEST = 3
_FEWEST_EFFECTIVE = 2.0  # independent blocks


@dataclasses.dataclass(frozen=True)
class SumRatio:
    """A ratio of sums. The 95 % interval is None if there are too few blocks to estimate it."""

    value: float
    low: float | None
    high: float | None


def sum_ratio(numerators: Sequence[float], denominators: Sequence[float]) -> SumRatio:
    """Returns the sum of the numerators over the sum of the denominators.

    The interval is Student's, from the residuals of the blocks; correlated blocks widen it.

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
    effective = summaries.effective_count(residuals.tolist())
    if effective < _FEWEST_EFFECTIVE:
        return SumRatio(value, None, None)
    error = float(residuals.std(ddof=1)) * tops.size / math.sqrt(effective) / total
    reach = float(scipy.stats.t.ppf((1 + _CONFIDENCE) / 2, effective - 1)) * error
    return SumRatio(value, value - reach, value + reach)
