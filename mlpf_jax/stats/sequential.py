"""Decides, while pairs of runs come in, whether B costs more than A: with bounded error.

A pair is one run of A and one of B, taken one right after the other; its slowdown is the logarithm
of B's cost over A's (seconds, bytes). If nothing changed, a slowdown is as likely negative as
positive, whatever the noise looks like: heavy tails, outliers, another variance from pair to pair.
Two one-sided tests use nothing but that. One finds B slower (the slowdowns lie above 0), the other
finds it fine (they lie below the threshold). Both are tried at fixed numbers of pairs, and their
levels are such that the chance of an error at any of them together is bounded:

* fine, although slower by the threshold: 2.3 % in each sequence;
* slower, although nothing changed: 3.6 % in the first sequence, 8.8 % in the confirming one, so
  0.32 % in both, and under 1 % for three measures together.

Only what the first sequence finds slower and fresh pairs confirm is a regression. NumPy and SciPy
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
MOST_TIMED_MEASURES = 3  # judged together: the levels below are made for so many
_NO_NOISE = 1e-9  # a clock tells nanoseconds, a sample takes a second


@dataclasses.dataclass(frozen=True)
class Limits:
    """What counts as a regression, and what is known of the machine."""

    threshold: float = 0.05  # the smallest relative increase of a cost that must be caught
    allowance: float = 0.0  # relative increases up to here mean nothing
    noise: float = 0.0  # standard deviation of the slowdown of A against A, as recorded earlier

    def __post_init__(self):
        if not 0 <= self.allowance < self.threshold < 10 or self.noise < 0:
            raise ValueError(
                f"threshold {self.threshold}, allowance {self.allowance}, noise {self.noise}: the "
                "threshold must be above the allowance and below 10, and nothing be negative."
            )


@dataclasses.dataclass(frozen=True)
class Decision:
    """What the pairs so far say of one measure."""

    verdict: Verdict
    is_final: bool  # more pairs would change nothing
    num_first: int  # pairs of the first sequence
    num_confirming: int  # fresh ones after that, if it found B slower


@dataclasses.dataclass(frozen=True)
class _Sequence:
    """At which numbers of pairs the tests are tried, and the levels of finding B slower."""

    looks: tuple[int, ...]
    first_level: float
    later_level: float


# Chances that any look finds B slower if nothing changed, simulated in tests/stats: 0.036, 0.088.
_FIRST = _Sequence((6, 8, 10, 12, 14, 16, 20, 24, 28), 1 / 64, 0.008)
_CONFIRMING = _Sequence((4, 6, 8, 10, 12, 14, 16, 20, 24), 1 / 16, 0.014)
# The chance that any look finds a slowdown of the threshold fine: 0.023.
_FEWEST_FINE, _FINE_FIRST_LEVEL, _FINE_LATER_LEVEL = 6, 1 / 64, 0.003
MOST_PAIRS = _FIRST.looks[-1] + _CONFIRMING.looks[-1]


def decide(slowdowns: Sequence[float], limits: Limits) -> Decision:
    """Returns what the slowdowns, in order of time, say so far.

    Deciding again after every pair is what the error bounds are for. With recorded noise a
    difference must besides be significant against that, so that a few pairs that agree by luck on
    a noisy machine decide nothing. Slowdowns without any noise confirm nothing.

    Raises:
        ValueError: for a slowdown that is not finite.
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


def decide_exact(before: float, after: float, limits: Limits) -> Decision:
    """Returns what a cost without noise says: a regression is more than the threshold."""
    regressed = after > before * (1 + limits.threshold)
    return Decision("regression" if regressed else "no regression", True, 1, 0)


def slowdowns(costs_a: Sequence[float], costs_b: Sequence[float]) -> list[float]:
    """Returns the slowdown of every pair.

    Raises:
        ValueError: for sides of different length, or a cost that is not positive.
    """
    if min([*costs_a, *costs_b], default=1.0) <= 0:
        raise ValueError("a cost must be positive.")
    return [math.log(b / a) for a, b in zip(costs_a, costs_b, strict=True)]


def ratio(values: Sequence[float]) -> comparison.Ratio:
    """Returns B's cost over A's, with interval, from the slowdowns of all pairs."""
    return comparison.paired_ratio([1.0] * len(values), [math.exp(value) for value in values])


def spread(values: Sequence[float]) -> float:
    """Returns the standard deviation of slowdowns, by their median absolute deviation."""
    return summaries.spread(values)


def is_noisy(values: Sequence[float]) -> bool:
    """Whether slowdowns differ, as those of separate runs do by any clock that is fit for them."""
    return spread(values) > _NO_NOISE


def p_value(values: Float[np.ndarray, "pairs"]) -> float:
    """Returns the chance of values as far above 0, if each had either sign with equal chance.

    A signed-rank test whose ranks are capped at half of their number: an outlier, however far,
    counts like a value of the middle. Exact, whatever the distribution of the magnitudes.

    Source: Hajek, Sidak and Sen, Theory of Rank Tests, signed rank tests with general scores.
    """
    scores = _scores(values.size)
    order = np.argsort(np.argsort(np.abs(values), kind="stable"), kind="stable")
    against = int(scores[order][values <= 0].sum())
    return float(_null(values.size)[against])


def _walk(
    values: Float[np.ndarray, "pairs"], sequence: _Sequence, limits: Limits
) -> tuple[Literal["slower", "fine", "open", "exhausted"], int]:
    """Returns what the first look that finds something finds, and its number of pairs."""
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
    """Whether the values lie above 0: by the signs of their ranks, and against recorded noise."""
    if p_value(values) > level:
        return False
    if not noise:
        return True
    # The deviation of the estimate, for normal noise (efficiency 3 / pi).
    deviation = noise * math.sqrt(math.pi / (3 * values.size))
    estimate = math.log(ratio(values.tolist()).value)
    return estimate >= float(scipy.stats.norm.isf(level)) * deviation


def _scores(num_pairs: int) -> np.ndarray:
    return np.minimum(np.arange(1, num_pairs + 1), (num_pairs + 1) // 2)


@functools.cache
def _null(num_pairs: int) -> Float[np.ndarray, "sums"]:
    """The chance of at most 0, 1, 2, ... for the sum of the scores that have a negative sign."""
    chance = np.ones(1)
    for score in _scores(num_pairs):
        chance = (np.pad(chance, (0, score)) + np.pad(chance, (score, 0))) / 2
    return np.cumsum(chance)
