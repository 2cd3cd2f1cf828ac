"""The two tables of the benchmark's first talk: from result files, and as published.

Source: E. Cuba, D. Southwick, E. Wulff, M. Girone, Study of MLPF-based GPU benchmarking, HEPscore
workshop, 20 September 2022: the tables of hardware and of reproducibility.
"""

import dataclasses
import statistics
from collections.abc import Iterable, Sequence

from mlpf_jax import config as config_lib
from mlpf_jax.compare import runs
from mlpf_jax.render import tables
from mlpf_jax.report import facts, quality, reader

SOURCE = (
    "E. Cuba, D. Southwick, E. Wulff, M. Girone, Study of MLPF-based GPU benchmarking, "
    "HEPscore workshop, 20 September 2022"
)
_NUM_EVENTS, _GLOBAL_BATCH, _NUM_EPOCHS = 1100, 16, 5
_PUBLISHED_ACCURACY = 0.9576  # accuracy of six of the eight runs
_PUBLISHED = "PUBLISHED 2022, NOT MEASURED HERE"


@dataclasses.dataclass(frozen=True)
class Published:
    """One machine of the talk, with a value for each of its runs."""

    hardware: str
    epoch_s: tuple[float, ...]
    events_per_s: tuple[float, ...]
    accuracies: tuple[float, ...] = ()


PUBLISHED_HARDWARE = (
    Published("Intel Xeon Gold 6148 40-Core", (365.3,), (3.01,)),
    Published("2 x AMD EPYC 7742 64-Core", (780.7,), (1.41,)),
    Published("Intel Xeon Platinum 8358 + 4 x NVIDIA A100 40GB", (13.48,), (128.5,)),
)
PUBLISHED_RUNS = (
    Published("Nvidia V100", (65.87, 65.88), (16.70, 16.70), (0.9576, 0.9576)),
    Published("Nvidia A100", (24.08, 24.12), (45.68, 45.60), (0.9579, 0.9578)),
    Published("Intel Skylake 40-core", (364.47, 365.65), (3.02, 3.01), (0.9576, 0.9576)),
    Published("AMD Rome 128-core", (549.32, 579.43), (2.00, 1.90), (0.9576, 0.9576)),
)


def view(reports: Sequence[reader.Report]) -> tables.View:
    """Returns both tables, measured and published, with notes on excluded runs."""
    trained = [report for report in reports if _has_epochs(report)]
    reasons = {report.source: why_left_out(report) for report in reports}
    of_case = [report for report in reports if not reasons[report.source]]
    left_out = {source: reason for source, reason in reasons.items() if reason}
    return tables.View(
        tables=(
            _hardware(runs.group(trained)),
            _hardware_published(),
            *([_repeated(runs.group(of_case))] if of_case else []),
            _repeated_published(),
        ),
        notes=(
            *(f"not in the table of accuracies: {name}: {why}" for name, why in left_out.items()),
            *(["no given run matches the case of the table of accuracies"] * (not of_case)),
            *_notes(reports),
        ),
        records=(*_records(trained, left_out), *_published_records()),
        document={
            "measured": [dict(record) for record in _records(trained, left_out)],
            "left_out_of_accuracies": left_out,
            "published_not_measured": {
                "source": SOURCE,
                "hardware": [dataclasses.asdict(p) for p in PUBLISHED_HARDWARE],
                "reproducibility": [dataclasses.asdict(p) for p in PUBLISHED_RUNS],
            },
        },
    )


def why_left_out(report: reader.Report) -> str:
    """Returns why a run does not match the talk's case for accuracy; empty if it does."""
    stats = report.stats
    if not _has_epochs(report):
        return "no training"
    num_events = facts.at(stats["data"], "train", "num_events")
    whole_pass = -(-_NUM_EVENTS // _GLOBAL_BATCH)
    found = {
        f"{num_events} events, not {_NUM_EVENTS}": num_events == _NUM_EVENTS,
        f"batch {stats['batch_size_total']} in total, not {_GLOBAL_BATCH}": (
            stats["batch_size_total"] == _GLOBAL_BATCH
        ),
        f"not {_NUM_EPOCHS} whole epochs": (
            stats.get("steps_by_epoch") == [whole_pass] * _NUM_EPOCHS
        ),
        **_settings(report),
    }
    return "; ".join(reason for reason, holds in found.items() if not holds)


def _has_epochs(report: reader.Report) -> bool:
    return {"mean_epoch_time", "mean_throughput", "val_accuracy"} <= report.stats.keys()


def _settings(report: reader.Report) -> dict[str, bool]:
    """Every setting of the network and the optimiser that must match the published one."""
    published = dataclasses.asdict(config_lib.RunConfig())
    names = [
        *(("model", name) for name in published["model"] if name not in quality.NUMERICS),
        *(("train", name) for name in ("learning_rate", "decay_steps", "decay_rate")),
        *(("data", name) for name in ("num_elements", "shuffle")),
    ]
    found = {}
    for part, name in names:
        value, wanted = facts.at(report.config, part, name), facts.at(published, part, name)
        found[f"{part}.{name} {value}, not {wanted}"] = value == wanted
    return found


def _hardware(groups: Iterable[runs.Group]) -> tables.Table:
    lines = []
    for group in groups:
        first = group.first
        per_epoch = first.stats.get("events_per_epoch")
        lines.append(
            (
                _machine(first),
                tables.number(_median(group, "mean_epoch_time")),
                tables.number(_median(group, "mean_throughput")),
                str(per_epoch if per_epoch is not None else "-"),
                str(len(group.reports)),
                first.source,
            )
        )
    return tables.Table(
        title="Measured: hardware, epoch time, throughput",
        columns=("hardware", "mean epoch s", "events/s", "events an epoch", "runs", "file"),
        rows=tuple(lines),
    )


def _median(group: runs.Group, name: str) -> float:
    return statistics.median(report.stats[name] for report in group.reports)


def _machine(report: reader.Report) -> str:
    mark = " (emulated: says nothing about real devices)" if report.is_emulated else ""
    return f"{report.machine}{mark}"


def _hardware_published() -> tables.Table:
    return tables.Table(
        title=f"{_PUBLISHED}: hardware, epoch time, throughput",
        columns=("hardware", "mean epoch s", "events/s"),
        rows=tuple(
            (p.hardware, _each(p.epoch_s, 2), _each(p.events_per_s, 2)) for p in PUBLISHED_HARDWARE
        ),
        is_reference=True,
    )


def _repeated(groups: Iterable[runs.Group]) -> tables.Table:
    return tables.Table(
        title=f"Measured: validation accuracy of {_NUM_EVENTS} events, batch {_GLOBAL_BATCH}, "
        f"{_NUM_EPOCHS} epochs, by run",
        columns=(
            "hardware",
            "precision",
            "accuracy",
            f"minus {_PUBLISHED_ACCURACY}",
            "events/s",
            "mean epoch s",
            "weights",
        ),
        rows=tuple(_repeated_row(group) for group in groups),
    )


def _repeated_row(group: runs.Group) -> tuple[str, ...]:
    accuracies = [report.stats["val_accuracy"][-1] for report in group.reports]
    distances = [accuracy - _PUBLISHED_ACCURACY for accuracy in accuracies]
    weights = dict.fromkeys(report.stats["params_sha256"][:12] for report in group.reports)
    return (
        _machine(group.first),
        group.first.variant,
        _each(accuracies, 4),
        " ".join(f"{distance:+.4f}" for distance in distances),
        _each([report.stats["mean_throughput"] for report in group.reports], 2),
        _each([report.stats["mean_epoch_time"] for report in group.reports], 2),
        " ".join(weights) + (" in every run" if len(group.reports) > len(weights) == 1 else ""),
    )


def _repeated_published() -> tables.Table:
    return tables.Table(
        title=f"{_PUBLISHED}: validation accuracy of {_NUM_EVENTS} events, "
        f"batch {_GLOBAL_BATCH}, {_NUM_EPOCHS} epochs, 2 runs",
        columns=("hardware", "accuracy", "events/s", "mean epoch s"),
        rows=tuple(
            (p.hardware, _each(p.accuracies, 4), _each(p.events_per_s, 2), _each(p.epoch_s, 2))
            for p in PUBLISHED_RUNS
        ),
        is_reference=True,
    )


def _each(values: Sequence[float], digits: int) -> str:
    return " ".join(f"{value:.{digits}f}" for value in values)


def _notes(reports: Sequence[reader.Report]) -> list[str]:
    kinds = {
        str(facts.at(found, "provenance", "kind"))
        for report in reports
        for found in report.stats["data"].values()
        if found
    }
    return [
        f"Published figures: {SOURCE}. TensorFlow, the public Delphes events.",
        f"Measured on {' and '.join(sorted(kinds))} events. As in the talk, means include "
        "validation and exclude the first epoch, if there is another, and accuracy counts "
        "padding as correct.",
        "An epoch of the talk has 1100 events: 365.3 s x 3.01 and 780.7 s x 1.41; only the figures "
        "of 4 x A100 multiply to 1732.",
    ]


def _records(trained: Iterable[reader.Report], left_out: dict[str, str]) -> list[tables.Record]:
    return [
        {
            "kind": "measured",
            "hardware": _machine(report),
            "file": report.source,
            "mean_epoch_s": report.stats["mean_epoch_time"],
            "mean_events_per_s": report.stats["mean_throughput"],
            "validation_accuracy": report.stats["val_accuracy"][-1],
            "is_of_the_talks_case": report.source not in left_out,
            "params_sha256": report.stats["params_sha256"],
        }
        for report in trained
    ]


def _published_records() -> list[tables.Record]:
    records: list[tables.Record] = []
    for published in (*PUBLISHED_HARDWARE, *PUBLISHED_RUNS):
        accuracies = published.accuracies or (None,) * len(published.epoch_s)
        values = zip(published.epoch_s, published.events_per_s, accuracies, strict=True)
        records += [
            {
                "kind": "published 2022, not measured",
                "hardware": published.hardware,
                "file": None,
                "mean_epoch_s": epoch_s,
                "mean_events_per_s": events_per_s,
                "validation_accuracy": accuracy,
                "is_of_the_talks_case": accuracy is not None,
            }
            for epoch_s, events_per_s, accuracy in values
        ]
    return records
