"""Null distributions of the Wilcoxon and the Mann-Whitney statistics."""

import bisect
import dataclasses
import functools
import math

import numpy as np
import scipy.special
from jaxtyping import Float

_MOST_EXACT_PAIRS = 100
_MOST_EXACT_PRODUCT = 900


@dataclasses.dataclass(frozen=True)
class Null:
    """The null distribution of a rank statistic, symmetric between 0 and twice its mean."""

    mean: float
    deviation: float
    cumulative: Float[np.ndarray, "values"] | None  # None: normal approximation, for many values
    wider: float = 1.0  # factor on the standard deviation, for correlated values
    freedom: float = math.inf  # degrees of freedom, if `wider` was estimated

    def lower_tail(self, value: float) -> float:
        """Returns the probability of at most `value`."""
        value = self.mean - (self.mean - value) / self.wider
        if self.cumulative is None:
            tail = float(scipy.special.ndtr((value + 0.5 - self.mean) / self.deviation))
        else:
            tail = float(self.cumulative[min(math.ceil(value), self.cumulative.size - 1)])
        if math.isinf(self.freedom):
            return tail
        return float(scipy.special.stdtr(self.freedom, scipy.special.ndtri(min(tail, 1.0))))

    def most_rejected(self, level: float) -> int:
        """Returns the largest value with a lower tail of at most `level`; -1 if there is none."""
        below = range(math.ceil(self.mean))
        return bisect.bisect_right(below, level, key=lambda k: self.lower_tail(float(k))) - 1


@functools.cache
def signed_rank(num_pairs: int) -> Null:
    """The sum of the ranks of positive differences; each rank is included with probability 1/2."""
    most = num_pairs * (num_pairs + 1) // 2
    deviation = math.sqrt(most * (2 * num_pairs + 1) / 12)
    if num_pairs > _MOST_EXACT_PAIRS:
        return Null(most / 2, deviation, None)
    chance = np.ones(1)
    for rank in range(1, num_pairs + 1):
        chance = (np.pad(chance, (0, rank)) + np.pad(chance, (rank, 0))) / 2
    return Null(most / 2, deviation, np.cumsum(chance))


@functools.cache
def rank_sum(num_a: int, num_b: int) -> Null:
    """The number of pairs with b above a, by recursion over the side of the largest value."""
    most = num_a * num_b
    deviation = most * math.sqrt(rank_sum_variance(num_a, num_b))
    if most > _MOST_EXACT_PRODUCT:
        return Null(most / 2, deviation, None)
    rows = [np.ones(1)] * (num_b + 1)  # for no value of a and 0 to num_b values of b
    for of_a in range(1, num_a + 1):
        row = [np.ones(1)]
        for of_b in range(1, num_b + 1):
            largest_is_b = np.pad(row[of_b - 1], (of_a, 0)) * of_b
            largest_is_a = np.pad(rows[of_b], (0, of_b)) * of_a
            row.append((largest_is_a + largest_is_b) / (of_a + of_b))
        rows = row
    return Null(most / 2, deviation, np.cumsum(rows[num_b]))


def rank_sum_variance(num_a: int | float, num_b: int | float) -> float:
    """Variance of the share of pairs in which b is above a."""
    return (num_a + num_b + 1) / (12 * num_a * num_b)
