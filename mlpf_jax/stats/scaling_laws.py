"""How throughput grows with the number of devices, and the serial fraction of the work.

The unit is a run, which is a process of its own. A round has one run of each kind, and runs are
compared within a round, so that changes between rounds (a warm machine, a busy neighbour) cancel. A
round maps the varied number, of devices or of events, to the measured value; kinds may be missing.
A study has too few runs for rank tests, so the intervals are Student's, of logarithms for ratios.
NumPy and SciPy only: no JAX, no files.
"""

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Literal

import numpy as np
import scipy.optimize
import scipy.special
import scipy.stats

Round = Mapping[int, float]
Law = Literal["Amdahl", "Gustafson"]

_CONFIDENCE = 0.95
_FARTHEST = 50.0  # largest distance of a bound from the best fit, in log speed-up
_LARGEST_EXPONENT = 700.0


@dataclasses.dataclass(frozen=True)
class Estimate:
    """A mean over runs and its 95 % interval, which is unbounded for a single run."""

    value: float
    low: float
    high: float
    count: int  # number of runs, or of pairs of runs

    def scaled(self, factor: float) -> "Estimate":
        """Returns the estimate multiplied by a positive factor."""
        low, value, high = (factor * number for number in (self.low, self.value, self.high))
        return Estimate(value, low, high, self.count)


@dataclasses.dataclass(frozen=True)
class SerialFraction:
    """The share of the work that more devices do not speed up, by a fit of a law to all runs.

    Below 0 the speed-up exceeds the number of devices; above 1 it is below one. The law then only
    describes the speed-up, and the fraction has no physical meaning. `misfit` is the relative
    standard deviation of the runs from the law, or None if there are no more runs than fit
    parameters.
    """

    law: Law
    value: float
    low: float
    high: float
    misfit: float | None
    count: int  # runs


def mean(values: Sequence[float]) -> Estimate:
    """Returns the mean of at least one value, with Student's interval.

    Raises:
        ValueError: if there are no values, or one is not finite.
    """
    array = np.asarray(values, np.float64)
    if not array.size or not np.all(np.isfinite(array)):
        raise ValueError(
            f"cannot average {list(values)}: at least one value is needed, and all must be finite."
        )
    middle = float(array.mean())
    if array.size == 1:
        return Estimate(middle, -math.inf, math.inf, 1)
    quantile = scipy.stats.t.ppf((1 + _CONFIDENCE) / 2, array.size - 1)
    reach = float(quantile * array.std(ddof=1) / math.sqrt(array.size))
    return Estimate(middle, middle - reach, middle + reach, array.size)


def mean_of_fractions(values: Sequence[float]) -> Estimate:
    """Returns the mean of at least one value from 0 to 1, with an interval within 0 and 1.

    The interval is Student's for the logit of the mean, with the standard error multiplied by the
    slope of the logit (the delta method). In simulations with 3, 6 and 10 values it covered the
    true mean as often as Student's interval of the values (within 2 %), and up to 13 % more often
    where the values crowd at one end. The bootstrap and Student's interval of the logits of the
    values covered it less often. No method allows for rare values that did not occur in any run.

    Raises:
        ValueError: if there are no values, or one is not from 0 to 1.
    """
    if not all(0 <= value <= 1 for value in values):
        raise ValueError(
            f"fractions must be from 0 to 1, and at least one is needed: {list(values)}."
        )
    found = mean(values)
    room = found.value * (1 - found.value)
    if found.count == 1 or room <= 0:
        return found
    middle, reach = scipy.special.logit(found.value), (found.high - found.value) / room
    low, high = scipy.special.expit([middle - reach, middle + reach])
    return Estimate(found.value, float(low), float(high), found.count)


def changes_of_fractions(rounds: Sequence[Round], reference: int) -> dict[int, Estimate]:
    """Returns `differences` of values from 0 to 1, with intervals within -1 and 1."""

    def mean_change(values: Sequence[float]) -> Estimate:
        found = mean_of_fractions([(1 + value) / 2 for value in values])
        value, low, high = (2 * number - 1 for number in (found.value, found.low, found.high))
        return Estimate(value, low, high, found.count)

    return _differences(rounds, reference, mean_change)


def differences(rounds: Sequence[Round], reference: int) -> dict[int, Estimate]:
    """Returns the mean difference between each kind and the reference of the same round.

    Excludes kinds that never share a round with the reference. The reference itself gives 0.

    Raises:
        ValueError: if a value is not finite.
    """
    return _differences(rounds, reference, mean)


def _differences(
    rounds: Sequence[Round], reference: int, average: Callable[[Sequence[float]], Estimate]
) -> dict[int, Estimate]:
    paired: dict[int, list[float]] = {}
    for values in rounds:
        if reference in values:
            for kind, value in values.items():
                paired.setdefault(kind, []).append(value - values[reference])
    found = {kind: average(paired[kind]) for kind in sorted(paired)}
    if reference in found:
        found[reference] = Estimate(0.0, 0.0, 0.0, found[reference].count)
    return found


def ratios(rounds: Sequence[Round], reference: int) -> dict[int, Estimate]:
    """Returns the geometric mean of the ratio of each kind to the reference of the same round.

    Raises:
        ValueError: if a value is not positive and finite.
    """
    return {
        kind: Estimate(_exp(found.value), _exp(found.low), _exp(found.high), found.count)
        for kind, found in differences(_logs(rounds), reference).items()
    }


def efficiencies(speedups: Mapping[int, Estimate], reference: int) -> dict[int, Estimate]:
    """Returns each speed-up over `reference` devices as a share of the ideal one."""
    return {kind: found.scaled(reference / kind) for kind, found in speedups.items()}


def speedup(law: Law, fraction: float, num_devices: int) -> float:
    """Returns the throughput of several devices over that of one, as the law predicts it.

    Amdahl's law is for constant work: 1 / (f + (1 - f) / n). Gustafson's law is for work that grows
    with the devices: f + (1 - f) n.

    Source: Amdahl, AFIPS Conf. Proc. 30 (1967) 483; Gustafson, Commun. ACM 31 (1988) 532.
    """
    if law == "Amdahl":
        return 1 / (fraction + (1 - fraction) / num_devices)
    return fraction + (1 - fraction) * num_devices


def serial_fraction(rounds: Sequence[Round], law: Law) -> SerialFraction:
    """Fits a law to throughputs by number of devices, in rounds; one device must be among them.

    Least squares of logarithms, with a free level for every round. The interval contains all
    fractions that an F test at 5 % does not reject; it is wider where the law fits the runs badly.

    Raises:
        ValueError: if no round has at least two numbers of devices, if one device is missing, or if
            a throughput is not positive and finite.
    """
    blocks = [
        (sorted(values), np.array([values[n] for n in sorted(values)]))
        for values in _logs(rounds)
        if len(values) > 1
    ]
    counts = {number for numbers, _ in blocks for number in numbers}
    if 1 not in counts:
        raise ValueError("a serial fraction needs rounds with one device and with several.")
    most = max(counts)

    def misfit(log_speedup: float) -> float:
        """Returns the sum of squares for a speed-up (its logarithm) of the most devices."""
        fraction = _fraction(law, log_speedup, most)
        left = [
            logs - np.log([speedup(law, fraction, n) for n in numbers]) for numbers, logs in blocks
        ]
        return float(sum(np.square(block - block.mean()).sum() for block in left))

    best, least = _minimum(misfit, start=math.log(most) / 2)
    num_runs = sum(len(numbers) for numbers, _ in blocks)
    freedom = num_runs - len(blocks) - 1
    ends = (-math.inf, math.inf)
    if freedom > 0:
        quantile = float(scipy.stats.f.ppf(_CONFIDENCE, 1, freedom))
        ends = _ends(misfit, best, least * (1 + quantile / freedom))
    high, low = (_bound(law, end, most) for end in ends)
    return SerialFraction(
        law=law,
        value=_fraction(law, best, most),
        low=low,
        high=high,
        misfit=math.sqrt(least / freedom) if freedom > 0 else None,
        count=num_runs,
    )


def _logs(rounds: Sequence[Round]) -> list[dict[int, float]]:
    wrong = [v for values in rounds for v in values.values() if not 0 < v < math.inf]
    if wrong:
        raise ValueError(f"throughputs must be positive and finite, not {wrong[0]}.")
    return [{kind: math.log(value) for kind, value in values.items()} for values in rounds]


def _exp(value: float) -> float:
    return math.exp(value) if value < _LARGEST_EXPONENT else math.inf


def _fraction(law: Law, log_speedup: float, num_devices: int) -> float:
    """Returns the serial fraction for which so many devices reach this speed-up.

    The fit uses the speed-up as its parameter because it may be any positive number, whereas the
    valid range of fractions depends on the number of devices.
    """
    if law == "Amdahl":
        return (math.exp(-log_speedup) - 1 / num_devices) / (1 - 1 / num_devices)
    return (num_devices - math.exp(log_speedup)) / (num_devices - 1)


def _bound(law: Law, log_speedup: float, num_devices: int) -> float:
    if math.isinf(log_speedup):
        return -log_speedup
    return _fraction(law, log_speedup, num_devices)


def _minimum(function: Callable[[float], float], *, start: float) -> tuple[float, float]:
    found = scipy.optimize.minimize_scalar(function, bracket=(start, start + 0.1), tol=1e-10)
    return float(found.x), float(found.fun)


def _ends(function: Callable[[float], float], best: float, limit: float) -> tuple[float, float]:
    """Returns where the function crosses the limit on either side of its minimum."""

    def end(direction: int) -> float:
        step = 1e-3
        while function(best + direction * step) <= limit:
            step *= 2
            if step > _FARTHEST:
                return direction * math.inf
        bracket = (best, best + direction * step)
        return scipy.optimize.root_scalar(lambda x: function(x) - limit, bracket=bracket).root

    return end(-1), end(1)
