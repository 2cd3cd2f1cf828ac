"""The runs of a study, read from their reports, by point."""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mlpf_jax.report import reader
from mlpf_jax.study import engine

PHASES = ("training", "inference")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Run:
    """One process at a point. Values that older studies did not record are missing."""

    file: str  # path of its report, relative to the study's folder
    seed: int
    is_emulated: bool
    num_events: int | None = None  # per step, on all devices of a copy
    rates: Mapping[str, float]  # steady-state score of each phase in events/s
    compile_s: Mapping[str, float] = dataclasses.field(default_factory=dict)  # lowering included
    memory_bytes: Mapping[str, int]  # per device by phase, as planned by the compiler
    event_bytes: Mapping[str, float] = dataclasses.field(default_factory=dict)  # the same per event
    events_per_j: Mapping[str, float] = dataclasses.field(default_factory=dict)
    price_per_hour: float | None = None  # of the machine
    currency: str | None = None
    peak_process_bytes: int | None = None
    epoch_s: float | None = None  # mean as in 2022, including validation
    num_updates: int = 0
    passes: float = 0.0  # number of passes over the training events, of a copy
    train_accuracy: float | None = None
    accuracy: float | None = None  # of the last validation, including padding, as in 2022
    doubts: tuple[str, ...] = ()  # the run's own reasons to distrust its speed


@dataclasses.dataclass(frozen=True, kw_only=True)
class PointResult:
    """The runs of a point, by round, and the reason if one failed."""

    point: engine.Point
    runs: Mapping[int, Run]
    failure: str | None = None

    @property
    def remarks(self) -> str:
        """What a table must say about the runs."""
        found = self.runs.values()
        remarks = ["emulated"] if any(run.is_emulated for run in found) else []
        if self.failure is not None:
            remarks.append("failed")
        num_doubtful = sum(bool(run.doubts) for run in found)
        if num_doubtful:
            remarks.append(f"{num_doubtful} of {len(found)} runs unreliable")
        return ", ".join(remarks)


def results(
    measured: Mapping[engine.Point, engine.Measured], out: Path
) -> dict[engine.Point, PointResult]:
    """Returns the runs from the reports of each point, with paths relative to `out`."""
    return {
        point: PointResult(
            point=point,
            runs={
                number: _run_of(report, str(Path(report.source).relative_to(out)))
                for number, report in found.reports.items()
            },
            failure=found.failure,
        )
        for point, found in measured.items()
    }


def provenance(
    measured: Mapping[engine.Point, engine.Measured], *, varies_cores: bool = False
) -> dict[str, Any]:
    """Returns the common facts of the runs: machine, versions, commit.

    With `varies_cores`, runs may use different numbers of cores.

    Raises:
        ValueError: if they differ in something that must be equal within a study; the message names
            the file.
    """
    reports = [report for found in measured.values() for report in found.reports.values()]
    first = min(reports, key=lambda report: (len(report.devices), -report.num_cores))
    common = _identity(first)
    free = {"num_cores", "identity"} if varies_cores else set()
    for report in reports:
        for name, value in _identity(report).items():
            if value != common[name] and name not in free:
                raise ValueError(
                    f"{report.source}: {name} is {value}, in the other runs {common[name]}: a "
                    "study cannot mix runs of different machines or programs."
                )
    return common | {
        "precision": ", ".join(sorted({report.precision for report in reports})),
        "machine": first.machine,
        "git_commit": first.environment.get("git_commit"),
        "git_is_dirty": first.environment.get("git_is_dirty"),
        "started_at": min(report.started_at for report in reports),
        "finished_at": max(report.finished_at for report in reports),
    }


def _run_of(report: reader.Report, file: str) -> Run:
    stats, phases = report.stats, report.phases
    together = report.batch_size_total
    # Of one copy, for each has its own network; the samples of all together are sums.
    of_copy = report.each_copy[0]["phases"] if report.each_copy else report.phase_documents
    trained = sum(of_copy["training"]["sample_events"]) if "training" in phases else 0
    num_events = report.train_set_size
    if trained:  # the first call is not a sample; it had a full batch, or all events
        trained += min(together, num_events)
    compiled = {name: phase.compile_times.total_s for name, phase in phases.items()}
    planned = {name: phase.memory_bytes for name, phase in phases.items()}
    return Run(
        file=file,
        seed=report.seed,
        is_emulated=report.is_emulated,
        num_events=together,
        rates={name: phase.score.median for name, phase in phases.items()},
        compile_s={name: seconds for name, seconds in compiled.items() if seconds},
        memory_bytes=planned,
        event_bytes={name: n * report.num_devices / together for name, n in planned.items()},
        events_per_j={
            name: used["events_per_j"]
            for name, phase in phases.items()
            if (used := phase.energy) and not used["is_short"]
        },
        price_per_hour=(report.cost or {}).get("price_per_hour"),
        currency=(report.cost or {}).get("currency"),
        peak_process_bytes=report.peak_process_bytes,
        epoch_s=report.mean_epoch_time,
        num_updates=sum(report.steps_by_epoch or ()),
        passes=trained / num_events if num_events else 0.0,
        train_accuracy=_last(stats.get("train_accuracy")),
        accuracy=report.accuracy,
        doubts=tuple(report.doubts or ()),
    )


def _last(values: Sequence[float] | None) -> float | None:
    return values[-1] if values else None


def _identity(report: reader.Report) -> dict[str, Any]:
    environment = report.environment
    return {
        "device": report.devices[0]["name"],
        "cpu": environment.get("cpu"),
        "identity": report.identity_key,
        "num_cores": environment["runtime"]["num_cores"],
        "versions": environment["versions"],
        "package_md5": report.bmk_checksum,
    }
