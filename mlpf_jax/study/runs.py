"""The runs of a scaling study, read from their reports.

A point is what its runs are given; they differ only in the seed. All numbers come from the runs'
own reports.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from mlpf_jax.report import reader


@dataclasses.dataclass(frozen=True, kw_only=True, order=True)
class Point:
    """What runs are given. 0 leaves the training events and the steps as the settings have them."""

    num_devices: int
    batch_size: int  # events per device and step
    num_train_events: int = 0
    num_steps: int = 0

    @property
    def global_batch_size(self) -> int:
        """Events per step on all devices together."""
        return self.num_devices * self.batch_size

    @property
    def name(self) -> str:
        """The point as the name of a folder."""
        parts = {"devices": self.num_devices, "batch": self.batch_size}
        more = {"events": self.num_train_events, "steps": self.num_steps}
        parts |= {name: number for name, number in more.items() if number}
        return "_".join(f"{name}-{number}" for name, number in parts.items())


@dataclasses.dataclass(frozen=True, kw_only=True)
class Run:
    """One process at a point."""

    file: str  # of its report, from the folder of the study
    seed: int
    is_emulated: bool
    rates: Mapping[str, float]  # steady-state events/s of each phase, as the report scores it
    memory_bytes: Mapping[str, int]  # of one device by phase, as the compiler planned
    epoch_s: float | None  # the mean of 2022, validation included
    num_updates: int
    passes: float  # over the training events
    train_accuracy: float | None
    accuracy: float | None  # of the last validation, padding counted, as in 2022
    doubts: tuple[str, ...]  # that the run itself has about its speed


@dataclasses.dataclass(frozen=True, kw_only=True)
class PointResult:
    """The runs of a point, by round, and why there are no more if one failed."""

    point: Point
    runs: Mapping[int, Run]
    failure: str | None = None


def run_of(report: reader.Report, file: str) -> Run:
    """Returns what a report says of a run."""
    stats = report.stats
    training = report.phases.get("training")
    trained = sum(sample.num_events for sample in training.samples) if training else 0
    num_events = stats["train_set_size"]
    if training:  # the first call makes no sample; it had a full batch, or all there is
        trained += min(stats["batch_size_total"], num_events)
    return Run(
        file=file,
        seed=report.seed,
        is_emulated=report.is_emulated,
        rates={name: phase.score.median for name, phase in report.phases.items()},
        memory_bytes={name: phase.memory_bytes for name, phase in report.phases.items()},
        epoch_s=stats.get("mean_epoch_time"),
        num_updates=sum(stats.get("steps_by_epoch", ())),
        passes=trained / num_events,
        train_accuracy=_last(stats.get("train_accuracy")),
        accuracy=report.accuracy,
        doubts=tuple(stats.get("doubts", ())),
    )


def provenance(reports: Sequence[reader.Report]) -> dict[str, Any]:
    """Returns what the runs have in common: machine, versions, commit.

    Raises:
        ValueError: if they differ in what may not differ within a study; it names the file.
    """
    first = min(reports, key=lambda report: len(report.devices))
    common = _identity(first)
    for report in reports:
        for name, value in _identity(report).items():
            if value != common[name]:
                raise ValueError(
                    f"{report.source}: {name} is {value}, in the other runs {common[name]}: "
                    "runs of different machines or programs make no study."
                )
    return common | {
        "machine": first.machine,
        "git_commit": first.environment.get("git_commit"),
        "git_is_dirty": first.environment.get("git_is_dirty"),
        "started_at": min(report.stats["started_at"] for report in reports),
        "finished_at": max(report.stats["finished_at"] for report in reports),
    }


def _last(values: Sequence[float] | None) -> float | None:
    return values[-1] if values else None


def _identity(report: reader.Report) -> dict[str, Any]:
    environment = report.environment
    return {
        "device": report.devices[0]["name"],
        "cpu": environment.get("cpu"),
        "num_cores": environment["runtime"]["num_cores"],
        "precision": report.precision,
        "versions": environment["versions"],
        "package_md5": report.bmk_checksum,
    }
