"""What each point of a sweep gives and costs, and which points are best.

Independent of files: values come from runs, or from the document of a recorded sweep.
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from mlpf_jax.stats import scaling_laws
from mlpf_jax.study import runs

MOST_POINTS = 1000  # of a sweep
_MILLION, _S_PER_HOUR = 1e6, 3600


@dataclasses.dataclass(frozen=True, kw_only=True)
class Quantity:
    """A quantity of a phase that points are judged by."""

    name: str
    title: str
    unit: str


EVENTS_PER_S = Quantity(name="events_per_s", title="speed", unit="events/s")
EVENTS_PER_J = Quantity(name="events_per_j", title="energy", unit="events/J")
COST = Quantity(name="cost_per_million", title="cost", unit="cost of a million events")
QUANTITIES = (EVENTS_PER_S, EVENTS_PER_J, COST)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Row:
    """A point of a sweep. Quantities that are unknown are missing."""

    number: int  # from 1, in the order of the grid
    label: str  # the varied settings
    phases: Mapping[str, Mapping[str, scaling_laws.Estimate]]  # by phase and quantity
    fronts: tuple[str, ...] = ()  # the phases whose Pareto front has the point

    def value(self, phase: str, quantity: Quantity) -> scaling_laws.Estimate | None:
        """Returns a quantity of a phase; None if it is unknown."""
        return self.phases.get(phase, {}).get(quantity.name)


def rows(labels: Sequence[str], results: Sequence[runs.PointResult]) -> tuple[Row, ...]:
    """Returns the rows of the points, with the Pareto fronts."""
    made = [
        Row(number=number, label=label, phases=_phases(list(result.runs.values())))
        for number, (label, result) in enumerate(zip(labels, results, strict=True), start=1)
    ]
    fronts = {phase: _front(made, phase) for phase in runs.PHASES}
    return tuple(
        dataclasses.replace(row, fronts=tuple(p for p in runs.PHASES if row.number in fronts[p]))
        for row in made
    )


def read(fields: Mapping[str, Any]) -> Row:
    """Returns a row of a recorded sweep, which matches the schema of documents."""
    phases = {
        phase: {name: _estimate(one) for name, one in quantities.items()}
        for phase, quantities in fields["phases"].items()
    }
    fronts = tuple(fields["fronts"])
    return Row(number=fields["number"], label=fields["label"], phases=phases, fronts=fronts)


def known(found: Sequence[Row], phase: str) -> list[Quantity]:
    """Returns the quantities that every measured point of the phase has."""
    measured = [row for row in found if row.value(phase, EVENTS_PER_S)]
    return [
        quantity
        for quantity in QUANTITIES
        if measured and all(row.value(phase, quantity) for row in measured)
    ]


def _phases(found: Sequence[runs.Run]) -> dict[str, dict[str, scaling_laws.Estimate]]:
    values: dict[str, Callable[[runs.Run, str], float | None]] = {
        EVENTS_PER_S.name: lambda run, phase: run.rates.get(phase),
        EVENTS_PER_J.name: lambda run, phase: run.events_per_j.get(phase),
        COST.name: _cost,
    }
    phases = {}
    for phase in runs.PHASES:
        every = {name: [of(run, phase) for run in found] for name, of in values.items()}
        phases[phase] = {
            name: scaling_laws.mean([one for one in ones if one is not None])
            for name, ones in every.items()
            if ones and None not in ones
        }
    return {phase: quantities for phase, quantities in phases.items() if quantities}


def _cost(run: runs.Run, phase: str) -> float | None:
    if run.price_per_hour is None or phase not in run.rates:
        return None
    return run.price_per_hour / _S_PER_HOUR * _MILLION / run.rates[phase]


def _front(found: Sequence[Row], phase: str) -> set[int]:
    """Returns the numbers of the points that no other point is better than.

    Another point is better if it is as good in speed and energy, and better in one. Cost is the
    price over the speed, so it does not count a second time. Energy counts if all points have it.
    """
    judged = [quantity for quantity in known(found, phase) if quantity is not COST]
    values = {
        row.number: [value.value for quantity in judged if (value := row.value(phase, quantity))]
        for row in found
        if judged and row.value(phase, EVENTS_PER_S)
    }
    return {
        number
        for number, own in values.items()
        if not any(_is_better(other, own) for other in values.values())
    }


def _is_better(other: Sequence[float], own: Sequence[float]) -> bool:
    pairs = list(zip(other, own, strict=True))
    return all(a >= b for a, b in pairs) and any(a > b for a, b in pairs)


def _estimate(fields: Mapping[str, Any]) -> scaling_laws.Estimate:
    """Returns an estimate of a document, in which null is an open end."""
    low, high = fields["low"], fields["high"]
    is_open = low is None or high is None
    ends = (-float("inf"), float("inf")) if is_open else (float(low), float(high))
    return scaling_laws.Estimate(float(fields["value"]), *ends, int(fields.get("count", 1)))
