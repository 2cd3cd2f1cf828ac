"""Power laws: by which exponent a cost grows, how sure that is, and where it departs from it."""

import dataclasses
import itertools
import math
from collections.abc import Mapping, Sequence

import numpy as np
import scipy.stats

_CONFIDENCE = 0.95


@dataclasses.dataclass(frozen=True)
class Law:
    """cost = scale * size^exponent, by least squares of the logarithms; the interval is at 95 %.

    The interval is Student's of a straight line through the sizes' means: where the cost follows no
    power, the sizes scatter about the line, and the interval says so.
    """

    exponent: float
    low: float
    high: float
    scale: float
    off: Mapping[int, float]  # by size: how far the cost lies off the law, as a share

    def cost(self, size: float | int) -> float:
        """Returns what the law says."""
        return self.scale * size**self.exponent


def fit(costs: Mapping[int, Sequence[float | int]]) -> Law:
    """Fits a law to the costs of at least three sizes, each by one run or more.

    Raises:
        ValueError: for fewer sizes, or a cost that is not positive and finite.
    """
    if len(costs) < 3:
        raise ValueError(f"a law takes three sizes at least, not {len(costs)}.")
    wrong = [c for found in costs.values() for c in found if not 0 < c < math.inf]
    if wrong or not all(costs.values()):
        raise ValueError(f"{wrong[:1]} is no cost: it takes positive, finite values.")
    sizes = np.array(sorted(costs), np.float64)
    logs = np.array([np.mean(np.log(costs[int(size)])) for size in sizes])
    line = scipy.stats.linregress(np.log(sizes), logs)
    quantile = scipy.stats.t.ppf((1 + _CONFIDENCE) / 2, sizes.size - 2)
    # The same cost at every size is exactly known; its correlation, and so SciPy's error, is NaN.
    reach = 0.0 if math.isnan(line.stderr) else float(quantile * line.stderr)
    exponent, intercept = float(line.slope), float(line.intercept)
    expected = intercept + exponent * np.log(sizes)
    off = {int(s): math.expm1(d) for s, d in zip(sizes, logs - expected, strict=True)}
    return Law(exponent, exponent - reach, exponent + reach, math.exp(intercept), off)


def local_exponents(costs: Mapping[int, Sequence[float | int]]) -> dict[int, float]:
    """Returns, by size, the exponent from the size before; a cliff is one far above the law's."""
    sizes = sorted(costs)
    logs = {size: float(np.mean(np.log(costs[size]))) for size in sizes}
    return {b: (logs[b] - logs[a]) / math.log(b / a) for a, b in itertools.pairwise(sizes)}
