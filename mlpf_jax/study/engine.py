"""Runs the points of a study, each run in its own process, and returns their reports.

A point is a set of flags in addition to the common settings; runs of a point differ only in the
seed. Runs are taken in rounds over all points, with every other round in reverse order, so that a
drift of the machine affects all points equally. Finished runs are kept, so a study can be resumed,
or extended by rounds or points. A failed run is reported, and its point gets no further rounds.
"""

import dataclasses
import itertools
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from mlpf_jax import progress as progress_lib
from mlpf_jax.measure import environment
from mlpf_jax.report import hepscore, reader
from mlpf_jax.study import claims, running

Value = bool | int | float | str
WRONG_USAGE = 2  # exit status of a run with impossible settings


class StudyError(ValueError):
    """A study is impossible as requested; the message is one line with the reason."""


@dataclasses.dataclass(frozen=True)
class Axis:
    """A varied setting: one or more flags of the run, which all get the value."""

    name: str
    values: tuple[Value, ...]
    flags: tuple[str, ...]
    label: str = ""  # for tables and figures


@dataclasses.dataclass(frozen=True)
class Point:
    """The flags of the runs of a point, with their values."""

    settings: tuple[tuple[str, Value], ...]

    @classmethod
    def of(cls, settings: Mapping[str, Value]) -> "Point":
        """Returns the point with the given settings."""
        return cls(tuple(settings.items()))

    def get(self, flag: str, default: Any = None) -> Any:
        """Returns the value of a flag."""
        return dict(self.settings).get(flag, default)

    @property
    def name(self) -> str:
        """The name of the point as a folder name."""
        parts = [f"{flag}-{value}" for flag, value in self.settings]
        return re.sub(r"[^\w.+-]", "-", "_".join(parts)) or "all"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Sweep:
    """All points, and the settings that all runs share.

    Raises:
        StudyError: if there is no point or no round, or two points have the same name.
    """

    points: tuple[Point, ...]
    arguments: tuple[str, ...]  # of every run, --name=value; settings of points take precedence
    repeats: int
    seed: int  # seed of the first round; each further round adds one

    def __post_init__(self):
        if self.repeats < 1:
            raise StudyError(f"--repeats={self.repeats}: must be at least 1.")
        if not self.points:
            raise StudyError("a study needs at least one point.")
        names = [point.name for point in self.points]
        for name in names:
            if names.count(name) > 1:
                raise StudyError(f"{name}: two points have this name.")

    def order(self) -> Iterator[tuple[int, Point]]:
        """Yields the round and the point of each run."""
        for number in range(self.repeats):
            for point in self.points if number % 2 == 0 else reversed(self.points):
                yield number, point

    def run_arguments(self, point: Point, number: int) -> list[str]:
        """Returns the arguments of the run of a point in a round; later ones take precedence."""
        own = [f"--{flag}={value}" for flag, value in point.settings]
        return [*self.arguments, *own, f"--seed={self.seed + number}"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Measured:
    """The reports of a point by round, and the reason if a run failed."""

    reports: Mapping[int, reader.Report]
    failure: str | None = None


def grid(axes: Sequence[Axis]) -> tuple[Point, ...]:
    """Returns a point for each combination of the axes' values; the last axis varies fastest."""
    return tuple(
        Point(tuple((flag, v) for axis, v in zip(axes, values, strict=True) for flag in axis.flags))
        for values in itertools.product(*(axis.values for axis in axes))
    )


def run(
    sweep: Sweep, out: Path, runner: running.Runner, progress: progress_lib.Progress
) -> dict[Point, Measured]:
    """Runs what is missing in the folder `out` and returns the reports of all runs there.

    Raises:
        StudyError: if `out` contains another study, or the very first run was wrong usage.
        RuntimeError: if no run succeeded.
        ValueError: if a report is damaged or belongs to another point.
        OSError: if `out` cannot be written.
    """
    _claim(sweep, out)
    failures = _run_missing(sweep, out, runner, progress)
    found = {
        point: Measured(reports=_reports(sweep, point, out), failure=failures.get(point))
        for point in sweep.points
    }
    if not any(measured.reports for measured in found.values()):
        raise RuntimeError(f"no run succeeded: {next(iter(failures.values()))}")
    return found


def _claim(sweep: Sweep, out: Path) -> None:
    """Reserves `out` for studies with these settings, on this machine, with this program."""
    here = environment.describe()
    plan = {
        "arguments": list(sweep.arguments),
        "seed": sweep.seed,
        "versions": here["versions"],
        "cpu": here["cpu"],
        # As JSON has it: two generations of CPUs may have one name.
        "identity": json.loads(json.dumps(here["surroundings"]["identity"])),
    }
    try:
        claims.claim(out, plan)
    except ValueError as error:
        raise StudyError(str(error)) from None


def _run_missing(
    sweep: Sweep, out: Path, runner: running.Runner, progress: progress_lib.Progress
) -> dict[Point, str]:
    """Returns the points with a failed run, and the reasons."""
    failures: dict[Point, str] = {}
    order = list(sweep.order())
    with progress.stage("runs", len(order)) as stage:
        for done, (number, point) in enumerate(order, start=1):
            path = _report_path(point, number, out)
            if not path.exists() and point not in failures:
                outcome = _run(sweep, point, number, out, runner)
                if not path.exists():
                    if outcome.status == WRONG_USAGE and done == 1:
                        raise StudyError(outcome.last_line)
                    failures[point] = outcome.last_line
                    progress.say(f"{point.name} failed: {outcome.last_line}")
            stage.update(done, f"{point.name}, round {number + 1} of {sweep.repeats}")
    return failures


def _run(
    sweep: Sweep, point: Point, number: int, out: Path, runner: running.Runner
) -> running.Outcome:
    """Runs a point once. Programs that are not measured are compiled once for the whole study."""
    folder = _report_path(point, number, out).parent
    folder.mkdir(parents=True, exist_ok=True)
    cache = f"--compilation_cache={out / 'programs'}"
    own = [*sweep.run_arguments(point, number), f"--results_dir={folder}"]
    return runner([cache, *own], folder)


def _report_path(point: Point, number: int, out: Path) -> Path:
    return out / "runs" / point.name / f"round-{number}" / hepscore.FILE_NAME


def _reports(sweep: Sweep, point: Point, out: Path) -> dict[int, reader.Report]:
    """Returns the reports of a point by round.

    Raises:
        ValueError: if one is damaged, or belongs to another point.
    """
    found = {}
    for number in range(sweep.repeats):
        path = _report_path(point, number, out)
        if path.exists():
            report = reader.read(path)
            told = {**report.config, **report.config["data"], **report.config["model"]}
            told |= {**report.config["train"], "num_devices": report.num_devices}
            told["copies"] = report.copies
            for flag, value in point.settings:
                if flag in told and str(told[flag]).lower() != str(value).lower():
                    raise ValueError(
                        f"{path}: not a run of this point, but with {flag} {told[flag]}. Remove it."
                    )
            found[number] = report
    return found
