"""A sequential test of whether B costs more than A, with bounded error rates.

A pair is one run of A and one of B, one right after the other. Its slowdown is the logarithm of B's
cost over A's (seconds or bytes). If nothing changed, a slowdown is as likely negative as positive,
whatever the noise looks like: heavy tails, outliers, a variance that differs between pairs. Two
one-sided tests assume only that. One finds B slower (the slowdowns lie above 0), the other finds B
fine (they lie below the threshold). Both are evaluated at fixed numbers of pairs, with levels that
bound the total probability of an error:

* B is found fine although it is slower by the threshold: 2.3 % in each sequence;
* B is found slower although nothing changed: 3.6 % in the first sequence, 8.8 % in the confirming
  one, so 0.32 % in both, and under 1 % for three measures together.

A regression is a slowdown that the first sequence finds and fresh pairs confirm. NumPy and SciPy
only: no JAX, no processes, no clock.
"""

import dataclasses
import functools
import math
from collections.abc import Sequence
from typing import Literal

import numpy as np
import scipy.stats
from jaxtyping import Float

from mlpf_jax.stats import comparison, summaries

Verdict = Literal["regression", "no regression", "undecided"]
MOST_TIMED_MEASURES = 3  # tested together: the levels below allow for at most so many
_POWER, _SIMULATIONS, _PRECISION = 0.95, 300, 0.02
_NO_NOISE = 1e-9  # clocks resolve nanoseconds, a sample takes a second


@dataclasses.dataclass(frozen=True)
class Limits:
    """The definition of a regression, and the recorded noise of the machine."""

    threshold: float = 0.05  # the smallest relative increase of a cost that must be caught
    allowance: float = 0.0  # relative increases up to here are ignored
    noise: float = 0.0  # standard deviation of the slowdown of A against A, as recorded earlier

    def __post_init__(self):
        if not 0 <= self.allowance < self.threshold < 10 or self.noise < 0:
            raise ValueError(
                f"threshold {self.threshold}, allowance {self.allowance}, noise {self.noise}: the "
                "threshold must be above the allowance and below 10, and none may be negative."
            )


@dataclasses.dataclass(frozen=True)
class Decision:
    """The decision on one measure after the pairs so far."""

    verdict: Verdict
    is_final: bool  # more pairs cannot change the decision
    num_first: int  # number of pairs in the first sequence
    num_confirming: int  # number of fresh pairs after that, if it found B slower


@dataclasses.dataclass(frozen=True)
class _Sequence:
    """The numbers of pairs at which the tests are evaluated, and the levels for "slower"."""

    looks: tuple[int, ...]
    first_level: float
    later_level: float


# Probabilities that any evaluation finds B slower if nothing changed, simulated in tests/stats:
# 0.036, 0.088.
_FIRST = _Sequence((6, 8, 10, 12, 14, 16, 20, 24, 28), 1 / 64, 0.008)
_CONFIRMING = _Sequence((4, 6, 8, 10, 12, 14, 16, 20, 24), 1 / 16, 0.014)
# The probability that any evaluation finds a slowdown by the threshold fine: 0.023.
_FEWEST_FINE, _FINE_FIRST_LEVEL, _FINE_LATER_LEVEL = 6, 1 / 64, 0.003
MOST_PAIRS = _FIRST.looks[-1] + _CONFIRMING.looks[-1]


def decide(slowdowns: Sequence[float], limits: Limits) -> Decision:
    """Returns the decision after the slowdowns so far, given in order of time.

    It is safe to call this after every pair: the error bounds allow for it. With recorded noise, a
    difference must also be significant relative to that noise, so that a few pairs that agree by
    chance on a noisy machine decide nothing. Slowdowns without any noise cannot confirm a
    regression.

    Raises:
        ValueError: if a slowdown is not finite.
    """
    values = np.asarray(slowdowns, np.float64)
    if not np.all(np.isfinite(values)):
        raise ValueError(f"slowdowns must be finite: {list(slowdowns)}.")
    finding, num_first = _walk(values, _FIRST, limits)
    if finding != "slower":
        return _decision(finding, num_first, 0)
    finding, num_confirming = _walk(values[num_first:], _CONFIRMING, limits)
    if finding == "slower" and not is_noisy(slowdowns):
        finding = "open"
    return _decision(finding, num_first, num_confirming)


def smallest_found(noise: float, num_pairs: int, limits: Limits) -> float:
    """Returns the smallest relative slowdown that is found with 95 % within so many pairs.

    `noise` is the standard deviation of slowdowns. Decides simulated normal slowdowns (fixed seed).
    Infinite if there are too few pairs to find any.
    """
    values = noise * np.random.default_rng(0).standard_normal((_SIMULATIONS, num_pairs))

    def share_found(slowdown: float) -> float:
        found = (decide((slowdown + one).tolist(), limits).verdict for one in values)
        return sum(verdict == "regression" for verdict in found) / _SIMULATIONS

    low, high = 0.0, limits.threshold + 10 * noise
    if share_found(high) < _POWER:
        return math.inf
    while high - low > _PRECISION * (limits.threshold + noise):
        middle = (low + high) / 2
        low, high = (low, middle) if share_found(middle) >= _POWER else (middle, high)
    return math.expm1(high)


def decide_exact(before: float, after: float, limits: Limits) -> Decision:
    """Returns the decision on a cost without noise: more than the threshold is a regression."""
    regressed = after > before * (1 + limits.threshold)
    return Decision("regression" if regressed else "no regression", True, 1, 0)


def slowdowns(costs_a: Sequence[float], costs_b: Sequence[float]) -> list[float]:
    """Returns the slowdown of every pair.

    Raises:
        ValueError: if the sides differ in length, or a cost is not positive.
    """
    if min([*costs_a, *costs_b], default=1.0) <= 0:
        raise ValueError("costs must be positive.")
    return [math.log(b / a) for a, b in zip(costs_a, costs_b, strict=True)]


def ratio(values: Sequence[float]) -> comparison.Ratio:
    """Returns B's cost over A's with its interval, from the slowdowns of all pairs."""
    return comparison.paired_ratio([1.0] * len(values), [math.exp(value) for value in values])


def spread(values: Sequence[float]) -> float:
    """Returns the standard deviation of slowdowns, estimated from the median absolute deviation.

    Of few values that is too small, of six by a sixth on average for normal noise. With the factor
    n / (n - 1) it is right on average within 5 % from three values on.
    """
    return summaries.spread(values) * len(values) / max(len(values) - 1, 1)


def is_noisy(values: Sequence[float]) -> bool:
    """Whether the slowdowns differ at all; those of real runs do with any usable clock."""
    return spread(values) > _NO_NOISE


def p_value(values: Float[np.ndarray, "pairs"]) -> float:
    """Returns the probability of values as far above 0, if both signs were equally likely.

    A signed-rank test with ranks capped at half of their number, so that an outlier counts no more
    than a middle value. Exact for any distribution of the magnitudes.

    Source: Hajek, Sidak and Sen, Theory of Rank Tests, signed rank tests with general scores.
    """
    scores = _scores(values.size)
    order = np.argsort(np.argsort(np.abs(values), kind="stable"), kind="stable")
    against = int(scores[order][values <= 0].sum())
    return float(_null(values.size)[against])


def _walk(
    values: Float[np.ndarray, "pairs"], sequence: _Sequence, limits: Limits
) -> tuple[Literal["slower", "fine", "open", "exhausted"], int]:
    """Returns the finding of the first evaluation that has one, and its number of pairs."""
    for place, num_pairs in enumerate(sequence.looks):
        if num_pairs > values.size:
            return "open", values.size
        seen = values[:num_pairs]
        if num_pairs >= _FEWEST_FINE:
            level = _FINE_FIRST_LEVEL if num_pairs == _FEWEST_FINE else _FINE_LATER_LEVEL
            if _is_above(math.log1p(limits.threshold) - seen, level, limits.noise):
                return "fine", num_pairs
        level = sequence.later_level if place else sequence.first_level
        if _is_above(seen - math.log1p(limits.allowance), level, limits.noise):
            return "slower", num_pairs
    return "exhausted", values.size


def _decision(finding: str, num_first: int, num_confirming: int) -> Decision:
    verdicts: dict[str, Verdict] = {"slower": "regression", "fine": "no regression"}
    verdict = verdicts.get(finding, "undecided")
    return Decision(verdict, finding != "open", num_first, num_confirming)


def _is_above(values: Float[np.ndarray, "pairs"], level: float, noise: float) -> bool:
    """Whether the values lie above 0, by their signed ranks and relative to recorded noise."""
    if p_value(values) > level:
        return False
    if not noise:
        return True
    # The standard deviation of the estimate, for normal noise (efficiency 3 / pi).
    deviation = noise * math.sqrt(math.pi / (3 * values.size))
    estimate = math.log(ratio(values.tolist()).value)
    return estimate >= float(scipy.stats.norm.isf(level)) * deviation


def _scores(num_pairs: int) -> np.ndarray:
    return np.minimum(np.arange(1, num_pairs + 1), (num_pairs + 1) // 2)


@functools.cache
def _null(num_pairs: int) -> Float[np.ndarray, "sums"]:
    """Cumulative probabilities of 0, 1, 2, ... for the sum of scores with a negative sign."""
    chance = np.ones(1)
    for score in _scores(num_pairs):
        chance = (np.pad(chance, (0, score)) + np.pad(chance, (score, 0))) / 2
    return np.cumsum(chance)
