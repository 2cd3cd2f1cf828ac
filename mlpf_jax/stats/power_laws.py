"""Power laws: the exponent with which a cost grows, its interval, and deviations from the law."""

import dataclasses
import itertools
import math
from collections.abc import Mapping, Sequence

import numpy as np
import scipy.stats

_CONFIDENCE = 0.95


@dataclasses.dataclass(frozen=True)
class Law:
    """cost = scale * size^exponent, by least squares of the logarithms, with a 95 % interval.

    The interval is Student's for a straight line through the means of the sizes. If the cost does
    not follow a power law, the means scatter about the line and the interval is wide.
    """

    exponent: float
    low: float
    high: float
    scale: float
    off: Mapping[int, float]  # by size: relative deviation of the cost from the law

    def cost(self, size: float | int) -> float:
        """Returns the cost that the law predicts."""
        return self.scale * size**self.exponent


def fit(costs: Mapping[int, Sequence[float | int]]) -> Law:
    """Fits a law to the costs of at least three sizes, with one or more runs each.

    Raises:
        ValueError: if there are fewer sizes, or a cost is not positive and finite.
    """
    if len(costs) < 3:
        raise ValueError(f"a power law needs at least three sizes, not {len(costs)}.")
    wrong = [c for found in costs.values() for c in found if not 0 < c < math.inf]
    if wrong or not all(costs.values()):
        raise ValueError(f"costs must be positive and finite, not {wrong[:1]}.")
    sizes = np.array(sorted(costs), np.float64)
    logs = np.array([np.mean(np.log(costs[int(size)])) for size in sizes])
    line = scipy.stats.linregress(np.log(sizes), logs)
    quantile = scipy.stats.t.ppf((1 + _CONFIDENCE) / 2, sizes.size - 2)
    # With equal costs at all sizes, the correlation and SciPy's standard error are NaN, but the
    # exponent is exact.
    reach = 0.0 if math.isnan(line.stderr) else float(quantile * line.stderr)
    exponent, intercept = float(line.slope), float(line.intercept)
    expected = intercept + exponent * np.log(sizes)
    off = {int(s): math.expm1(d) for s, d in zip(sizes, logs - expected, strict=True)}
    return Law(exponent, exponent - reach, exponent + reach, math.exp(intercept), off)


def local_exponents(costs: Mapping[int, Sequence[float | int]]) -> dict[int, float]:
    """Returns the exponent between each size and the one before; a large one marks a cliff."""
    sizes = sorted(costs)
    logs = {size: float(np.mean(np.log(costs[size]))) for size in sizes}
    return {b: (logs[b] - logs[a]) / math.log(b / a) for a, b in itertools.pairwise(sizes)}
