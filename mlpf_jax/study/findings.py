"""The findings of a study: rows for its points, and the fitted laws."""

import dataclasses
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from mlpf_jax.stats import power_laws, scaling_laws
from mlpf_jax.study import runs
from mlpf_jax.study import trade_offs as trade_offs_lib

_Estimates = Mapping[str, scaling_laws.Estimate]  # by phase
_Value = Callable[[runs.Run], float | None]
COSTS = ("step time per event", "compile time", "memory per event")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Kind:
    """The kind of a study: the flag on its axis, its title, and which laws are fitted."""

    name: str
    title: str
    kept: str = ""  # what stays constant, in words
    flag: str
    label: str  # label of the axis
    law: scaling_laws.Law | None = None  # over devices, starting from one
    has_powers: bool = False  # whether power laws are fitted to costs over size


@dataclasses.dataclass(frozen=True, kw_only=True)
class Row:
    """A point of a study, relative to the study's reference: the first point with runs."""

    x: int  # value on the axis of the study
    result: runs.PointResult
    rates: _Estimates = dataclasses.field(default_factory=dict)  # events/s
    ratios: _Estimates = dataclasses.field(default_factory=dict)  # over the reference: the speed-up
    efficiencies: _Estimates = dataclasses.field(default_factory=dict)  # only along devices
    compile_s: _Estimates = dataclasses.field(default_factory=dict)
    event_bytes: _Estimates = dataclasses.field(default_factory=dict)
    train_accuracy: scaling_laws.Estimate | None = None  # of the last epoch, during training
    accuracy: scaling_laws.Estimate | None = None
    accuracy_change: scaling_laws.Estimate | None = None  # from the reference, at equal seeds


@dataclasses.dataclass(frozen=True, kw_only=True)
class Series:
    """A study: its points in order, and the fitted laws."""

    kind: Kind
    reference: int | None  # None if no point has a run
    rows: tuple[Row, ...]
    fits: Mapping[str, scaling_laws.SerialFraction]  # by phase
    powers: Mapping[str, Mapping[str, power_laws.Law]]  # by cost and phase; three sizes or more

    @property
    def is_emulated(self) -> bool:
        """Whether any point had virtual devices."""
        return any(run.is_emulated for row in self.rows for run in row.result.runs.values())

    def costs(self, cost: str, phase: str) -> dict[int, list[float]]:
        """Returns one of COSTS for all runs by size, in seconds or bytes."""
        found = {
            row.x: [value for run in row.result.runs.values() if (value := _cost(run, cost, phase))]
            for row in self.rows
        }
        return {x: values for x, values in found.items() if values}


@dataclasses.dataclass(frozen=True, kw_only=True)
class BatchRow:
    """The accuracy of networks trained with the same total batch."""

    global_batch_size: int
    num_devices: tuple[int, ...]
    num_updates: int
    passes: float
    accuracy: scaling_laws.Estimate
    accuracy_change: scaling_laws.Estimate  # relative to the smallest batch, at the same seeds
    spread_over_devices: float | None  # largest at one seed; None: one number


@dataclasses.dataclass(frozen=True, kw_only=True)
class Findings:
    """Everything to show: provenance, settings and findings."""

    provenance: Mapping[str, Any]
    arguments: tuple[str, ...]  # of every run
    repeats: int
    results: tuple[runs.PointResult, ...]
    series: tuple[Series, ...]
    batch_rows: tuple[BatchRow, ...] = ()
    trade_offs: tuple[trade_offs_lib.Row, ...] = ()  # of a sweep, in the order of its points

    @property
    def num_failed(self) -> int:
        """Number of points with a failed run."""
        return sum(result.failure is not None for result in self.results)

    @property
    def is_emulated(self) -> bool:
        """Whether any point had virtual devices."""
        return any(run.is_emulated for result in self.results for run in result.runs.values())


def series(kind: Kind, results: Sequence[runs.PointResult]) -> Series:
    """Returns a study of points in the order of its axis."""
    by_x = {result.point.get(kind.flag): result for result in results}
    present = [x for x, result in by_x.items() if result.runs]
    reference = min(present) if present else None
    rates = {phase: _rounds(by_x, _rate(phase)) for phase in runs.PHASES}
    rows = tuple(_rows(kind, by_x, rates, reference))
    bare = Series(kind=kind, reference=reference, rows=rows, fits=_fits(kind, rates), powers={})
    return dataclasses.replace(bare, powers=_powers(bare)) if kind.has_powers else bare


def _rows(
    kind: Kind,
    by_x: Mapping[int, runs.PointResult],
    rates: Mapping[str, Sequence[scaling_laws.Round]],
    reference: int | None,
) -> Iterable[Row]:
    if reference is None:
        yield from (Row(x=x, result=result) for x, result in by_x.items())
        return
    ratios = {name: scaling_laws.ratios(rounds, reference) for name, rounds in rates.items()}
    shares = {
        name: scaling_laws.efficiencies(found, reference)
        for name, found in ratios.items()
        if kind.law
    }
    changes = scaling_laws.changes_of_fractions(_rounds(by_x, _accuracy), reference)
    for x, result in by_x.items():
        found = result.runs.values()
        yield Row(
            x=x,
            result=result,
            rates=_means([run.rates for run in found]),
            ratios=_at(x, ratios),
            efficiencies=_at(x, shares),
            compile_s=_means([run.compile_s for run in found]),
            event_bytes=_means([run.event_bytes for run in found]),
            train_accuracy=_mean_accuracy(run.train_accuracy for run in found),
            accuracy=_mean_accuracy(map(_accuracy, found)),
            accuracy_change=changes.get(x),
        )


def batch_rows(results: Iterable[runs.PointResult]) -> tuple[BatchRow, ...]:
    """Returns the accuracy by global batch, for points that train on the settings' events.

    Among several numbers of devices with the same batch, the smallest one is used.
    """
    by_batch: dict[int, list[runs.PointResult]] = {}
    for result in sorted(results, key=lambda result: result.point.get("num_devices")):
        if not result.point.get("num_train_events") and _accuracies(result):
            by_batch.setdefault(_global_batch_size(result), []).append(result)
    if not by_batch:
        return ()
    firsts = {size: found[0] for size, found in by_batch.items()}
    changes = scaling_laws.changes_of_fractions(_rounds(firsts, _accuracy), min(firsts))
    return tuple(_batch_row(by_batch[size], change) for size, change in changes.items())


def accuracy_step(
    before: runs.PointResult, after: runs.PointResult
) -> scaling_laws.Estimate | None:
    """Returns the change of the accuracy between two points, at the same seeds."""
    rounds = _rounds({0: before, 1: after}, _accuracy)
    return scaling_laws.changes_of_fractions(rounds, 0).get(1)


def _batch_row(results: Sequence[runs.PointResult], change: scaling_laws.Estimate) -> BatchRow:
    first = next(iter(results[0].runs.values()))
    return BatchRow(
        global_batch_size=_global_batch_size(results[0]),
        num_devices=tuple(result.point.get("num_devices") for result in results),
        num_updates=first.num_updates,
        passes=first.passes,
        accuracy=scaling_laws.mean_of_fractions(list(_accuracies(results[0]).values())),
        accuracy_change=change,
        spread_over_devices=_spread(results),
    )


def _global_batch_size(result: runs.PointResult) -> int:
    return result.point.get("num_devices") * result.point.get("batch_size")


def _spread(results: Sequence[runs.PointResult]) -> float | None:
    """Returns the largest difference between numbers of devices in the same round."""
    scored = [_accuracies(result) for result in results]
    shared = set.intersection(*(set(accuracies) for accuracies in scored))
    if len(scored) < 2 or not shared:
        return None
    by_round = [[accuracies[number] for accuracies in scored] for number in shared]
    return max(max(values) - min(values) for values in by_round)


def _accuracies(result: runs.PointResult) -> dict[int, float]:
    return {n: run.accuracy for n, run in result.runs.items() if run.accuracy is not None}


def _accuracy(run: runs.Run) -> float | None:
    return run.accuracy


def _rate(phase: str) -> _Value:
    return lambda run: run.rates.get(phase)


def _cost(run: runs.Run, cost: str, phase: str) -> float | None:
    if cost == COSTS[0]:
        return 1 / run.rates[phase] if phase in run.rates else None
    return (run.compile_s if cost == COSTS[1] else run.event_bytes).get(phase)


def _rounds(by_x: Mapping[int, runs.PointResult], value: _Value) -> list[dict[int, float]]:
    """Returns a value of the runs for each round, by the position of the point on the axis."""
    numbers = sorted({number for result in by_x.values() for number in result.runs})
    return [
        {
            x: found
            for x, result in by_x.items()
            if number in result.runs and (found := value(result.runs[number])) is not None
        }
        for number in numbers
    ]


def _mean_accuracy(values: Iterable[float | None]) -> scaling_laws.Estimate | None:
    known = [value for value in values if value is not None]
    return scaling_laws.mean_of_fractions(known) if known else None


def _means(found: Sequence[Mapping[str, float | int]]) -> dict[str, scaling_laws.Estimate]:
    """Returns the mean over runs by phase."""
    values = {phase: [v[phase] for v in found if phase in v] for phase in runs.PHASES}
    return {phase: scaling_laws.mean(known) for phase, known in values.items() if known}


def _at(
    x: int, found: Mapping[str, Mapping[int, scaling_laws.Estimate]]
) -> dict[str, scaling_laws.Estimate]:
    return {name: by_x[x] for name, by_x in found.items() if x in by_x}


def _fits(
    kind: Kind, rates: Mapping[str, Sequence[scaling_laws.Round]]
) -> dict[str, scaling_laws.SerialFraction]:
    """Fits each phase that has a round with one device and with several."""
    if kind.law is None:
        return {}
    return {
        name: scaling_laws.serial_fraction(rounds, kind.law)
        for name, rounds in rates.items()
        if any(1 in values and len(values) > 1 for values in rounds)
    }


def _powers(series: Series) -> dict[str, dict[str, power_laws.Law]]:
    found = {cost: {phase: series.costs(cost, phase) for phase in runs.PHASES} for cost in COSTS}
    return {
        cost: {phase: power_laws.fit(sizes) for phase, sizes in phases.items() if len(sizes) >= 3}
        for cost, phases in found.items()
    }
