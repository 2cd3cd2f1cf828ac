"""What a scaling study found: the rows of its points, and the laws fitted to them."""

import dataclasses
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Literal, get_args

from mlpf_jax.stats import scaling_laws
from mlpf_jax.study import runs

Study = Literal["weak", "strong", "batch", "data"]
STUDIES: tuple[Study, ...] = get_args(Study)
PHASES = ("training", "inference")
_Estimates = Mapping[str, scaling_laws.Estimate]  # by phase
_Value = Callable[[runs.Run], float | None]
_LAWS: dict[str, scaling_laws.Law] = {"weak": "Gustafson", "strong": "Amdahl"}
_AXES = {
    "weak": "num_devices",
    "strong": "num_devices",
    "batch": "batch_size",
    "data": "num_train_events",
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Row:
    """A point of a study, beside the study's reference: the first point that has runs."""

    x: int  # on the axis of the study
    result: runs.PointResult
    rates: _Estimates = dataclasses.field(default_factory=dict)  # events/s
    ratios: _Estimates = dataclasses.field(default_factory=dict)  # to the reference: the speed-up
    efficiencies: _Estimates = dataclasses.field(default_factory=dict)  # only along devices
    train_accuracy: scaling_laws.Estimate | None = None  # of the last epoch, while it trained
    accuracy: scaling_laws.Estimate | None = None
    accuracy_change: scaling_laws.Estimate | None = None  # from the reference, at the same seeds


@dataclasses.dataclass(frozen=True, kw_only=True)
class Series:
    """A study: its points in order, and the laws fitted to them."""

    study: Study
    axis: str
    reference: int | None  # None if no point has a run
    rows: tuple[Row, ...]
    fits: Mapping[str, scaling_laws.SerialFraction]  # by phase

    @property
    def is_emulated(self) -> bool:
        """Whether any point had virtual devices."""
        return any(run.is_emulated for row in self.rows for run in row.result.runs.values())


@dataclasses.dataclass(frozen=True, kw_only=True)
class BatchRow:
    """How well networks did that were trained with the same batch on all devices together."""

    global_batch_size: int
    num_devices: tuple[int, ...]
    num_updates: int
    passes: float
    accuracy: scaling_laws.Estimate
    accuracy_change: scaling_laws.Estimate  # from the smallest batch, at the same seeds
    spread_over_devices: float | None  # largest difference at one seed; None of one number


@dataclasses.dataclass(frozen=True, kw_only=True)
class Findings:
    """All that is shown: where it was measured, with what settings, and what was found."""

    provenance: Mapping[str, Any]
    arguments: tuple[str, ...]  # of every run
    repeats: int
    results: tuple[runs.PointResult, ...]
    series: tuple[Series, ...]
    batch_rows: tuple[BatchRow, ...]

    @property
    def num_failed(self) -> int:
        """Points of which a run failed."""
        return sum(result.failure is not None for result in self.results)


def series(study: Study, results: Sequence[runs.PointResult]) -> Series:
    """Returns a study of points that are in the order of its axis."""
    axis = _AXES[study]
    by_x = {getattr(result.point, axis): result for result in results}
    present = [x for x, result in by_x.items() if result.runs]
    if not present:
        rows = tuple(Row(x=x, result=result) for x, result in by_x.items())
        return Series(study=study, axis=axis, reference=None, rows=rows, fits={})
    reference = min(present)
    rates = {name: _rounds(by_x, _rate(name)) for name in PHASES}
    ratios = {name: scaling_laws.ratios(rounds, reference) for name, rounds in rates.items()}
    shares = {
        name: scaling_laws.efficiencies(found, reference)
        for name, found in ratios.items()
        if study in _LAWS
    }
    changes = scaling_laws.differences(_rounds(by_x, _accuracy), reference)
    rows = tuple(
        Row(
            x=x,
            result=result,
            rates=_means(result),
            ratios=_at(x, ratios),
            efficiencies=_at(x, shares),
            train_accuracy=_mean(run.train_accuracy for run in result.runs.values()),
            accuracy=_mean(map(_accuracy, result.runs.values())),
            accuracy_change=changes.get(x),
        )
        for x, result in by_x.items()
    )
    fits = _fits(study, rates)
    return Series(study=study, axis=axis, reference=reference, rows=rows, fits=fits)


def batch_rows(results: Iterable[runs.PointResult]) -> tuple[BatchRow, ...]:
    """Returns the accuracy by global batch, of the points that train on the settings' events.

    Of several numbers of devices with the same batch the smallest one stands for all.
    """
    by_batch: dict[int, list[runs.PointResult]] = {}
    for result in sorted(results, key=lambda result: result.point):
        if not result.point.num_train_events and _accuracies(result):
            by_batch.setdefault(result.point.global_batch_size, []).append(result)
    if not by_batch:
        return ()
    firsts = {size: found[0] for size, found in by_batch.items()}
    changes = scaling_laws.differences(_rounds(firsts, _accuracy), min(firsts))
    return tuple(_batch_row(by_batch[size], change) for size, change in changes.items())


def accuracy_step(
    before: runs.PointResult, after: runs.PointResult
) -> scaling_laws.Estimate | None:
    """Returns by how much the accuracy changes from one point to another, at the same seeds."""
    rounds = _rounds({0: before, 1: after}, _accuracy)
    return scaling_laws.differences(rounds, 0).get(1)


def _batch_row(results: Sequence[runs.PointResult], change: scaling_laws.Estimate) -> BatchRow:
    first = next(iter(results[0].runs.values()))
    return BatchRow(
        global_batch_size=results[0].point.global_batch_size,
        num_devices=tuple(result.point.num_devices for result in results),
        num_updates=first.num_updates,
        passes=first.passes,
        accuracy=scaling_laws.mean(list(_accuracies(results[0]).values())),
        accuracy_change=change,
        spread_over_devices=_spread(results),
    )


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


def _rounds(by_x: Mapping[int, runs.PointResult], value: _Value) -> list[dict[int, float]]:
    """Returns a value of the runs, round by round, by the place of their point on the axis."""
    numbers = sorted({number for result in by_x.values() for number in result.runs})
    return [
        {
            x: found
            for x, result in by_x.items()
            if number in result.runs and (found := value(result.runs[number])) is not None
        }
        for number in numbers
    ]


def _mean(values: Iterable[float | None]) -> scaling_laws.Estimate | None:
    known = [value for value in values if value is not None]
    return scaling_laws.mean(known) if known else None


def _means(result: runs.PointResult) -> dict[str, scaling_laws.Estimate]:
    means = {name: _mean(map(_rate(name), result.runs.values())) for name in PHASES}
    return {name: found for name, found in means.items() if found}


def _at(
    x: int, found: Mapping[str, Mapping[int, scaling_laws.Estimate]]
) -> dict[str, scaling_laws.Estimate]:
    return {name: by_x[x] for name, by_x in found.items() if x in by_x}


def _fits(
    study: Study, rates: Mapping[str, Sequence[scaling_laws.Round]]
) -> dict[str, scaling_laws.SerialFraction]:
    """Fits each phase that has a round with one device and with several."""
    if study not in _LAWS:
        return {}
    return {
        name: scaling_laws.serial_fraction(rounds, _LAWS[study])
        for name, rounds in rates.items()
        if any(1 in values and len(values) > 1 for values in rounds)
    }
