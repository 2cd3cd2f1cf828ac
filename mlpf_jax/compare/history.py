"""A store of results in plain folders, and the history of their metrics.

DIR/<machine class>/<start of the run>_<digest of the file>.json: the name of a file depends on its
content, so adding a file twice changes nothing and files are never overwritten.
"""

import dataclasses
import datetime
import hashlib
import itertools
import math
import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from mlpf_jax import atomic
from mlpf_jax.compare import runs
from mlpf_jax.report import facts, reader
from mlpf_jax.stats import change_points

_LONGEST_NAME = 100  # of a folder; file systems allow 255 bytes


@dataclasses.dataclass(frozen=True)
class Metric:
    """One number of a run that has a history."""

    label: str  # with the unit
    higher_is_better: bool
    of: Callable[[reader.Report], float | None]  # None: the run has no value


@dataclasses.dataclass(frozen=True, kw_only=True)
class Point:
    """One run in a series."""

    report: reader.Report
    started_at: datetime.datetime
    value: float
    change: float | None  # relative, from the previous level to the one that begins here
    explanation: str | None  # what changed since the run before; None if no level begins


@dataclasses.dataclass(frozen=True, kw_only=True)
class Series:
    """Runs of one machine class and configuration, in order of their start."""

    machine: str
    machine_class: str
    work: str  # the configuration in words, without rarely changed settings
    configuration: str  # first digits of a digest of the full configuration
    points: tuple[Point, ...]


@dataclasses.dataclass(frozen=True)
class Added:
    """The path of a stored result, and whether it is new."""

    path: Path
    is_new: bool


def _phase(name: str) -> Callable[[reader.Report], float | None]:
    def rate(report: reader.Report) -> float | None:
        return statistics.median(report.phases[name].rates) if name in report.phases else None

    return rate


METRICS: Mapping[str, Metric] = {
    "training": Metric("training, events/s", True, _phase("training")),
    "inference": Metric("inference, events/s", True, _phase("inference")),
    "epoch_time": Metric(
        "mean epoch, s", False, lambda report: report.stats.get("mean_epoch_time")
    ),
    "compile_s": Metric(
        "compiling, s",
        False,
        lambda report: report.compile_s,
    ),
    "memory": Metric(
        "memory, GiB per device",
        False,
        lambda report: max(p.memory_bytes for p in report.phases.values()) / 2**30,
    ),
    "accuracy": Metric("accuracy", True, lambda report: report.accuracy),
}


def add(folder: Path, paths: Iterable[Path]) -> list[Added]:
    """Copies results into the store: all of them, or none if one is not a valid report.

    Raises:
        ValueError: if a file is not a valid report, or the stored file differs from it.
        OSError: if a file cannot be read or written.
    """
    contents = [_placed(folder, file) for file in reader.find(paths)]
    added = []
    for path, content in contents:
        is_new = not path.exists()
        if is_new:
            path.parent.mkdir(parents=True, exist_ok=True)
            atomic.write_file(path, content)
        elif path.read_bytes() != content:
            raise ValueError(f"{path}: damaged: its content does not match its name.")
        added.append(Added(path, is_new))
    return added


def series(reports: Iterable[reader.Report], name: str) -> list[Series]:
    """Returns the history of one of `METRICS`, by machine class and configuration.

    Raises:
        ValueError: if the start of a run is not a valid time.
    """
    metric = METRICS[name]
    alike: dict[tuple[str, str], list[reader.Report]] = {}
    for report in sorted(reports, key=started_at):
        if metric.of(report) is not None:
            alike.setdefault((report.machine_class, configuration(report)), []).append(report)
    return [
        Series(
            machine=found[0].machine,
            machine_class=machine_class,
            work=_words(found[0]),
            configuration=digest,
            points=_points(found, metric),
        )
        for (machine_class, digest), found in sorted(alike.items())
    ]


def configuration(report: reader.Report) -> str:
    """Returns a short digest of the settings and the events, which define the work."""
    of_work = [fact for fact in facts.facts(report) if fact.category in ("settings", "events")]
    return hashlib.sha256(repr(of_work).encode()).hexdigest()[:8]


def started_at(report: reader.Report) -> datetime.datetime:
    """Returns the start of a run in UTC.

    Raises:
        ValueError: if it is not a valid time; the message begins with the report's path.
    """
    text = report.stats["started_at"]
    try:
        found = datetime.datetime.fromisoformat(text)
        return found.replace(tzinfo=found.tzinfo or datetime.UTC).astimezone(datetime.UTC)
    except (OverflowError, TypeError, ValueError):
        raise ValueError(f"{report.source}: started_at {text!r} is not a valid time.") from None


def _words(report: reader.Report) -> str:
    stats = report.stats
    num_events = (
        facts.at(stats["data"], "train", "num_events") or stats["data"]["test"]["num_events"]
    )
    return f"{report.variant}, {num_events} events, batch {stats['batch_size_total']}"


def _placed(folder: Path, file: Path) -> tuple[Path, bytes]:
    """Returns the place of a result in the store, and its content."""
    report, content = runs.read(file), file.read_bytes()
    digest = hashlib.sha256(content).hexdigest()[:12]
    name = f"{started_at(report):%Y%m%dT%H%M%SZ}_{digest}.json"
    return folder / report.machine_class[:_LONGEST_NAME] / name, content


def _points(reports: Sequence[reader.Report], metric: Metric) -> tuple[Point, ...]:
    values = [value for report in reports if (value := metric.of(report)) is not None]
    changes = _changes(values)
    return tuple(
        Point(
            report=report,
            started_at=started_at(report),
            value=value,
            change=changes.get(i),
            explanation=_explanation(reports, i) if i in changes else None,
        )
        for i, (report, value) in enumerate(zip(reports, values, strict=True))
    )


def _explanation(reports: Sequence[reader.Report], i: int) -> str:
    """Describes what changed at a run, or else around it, because noise can shift a change."""
    at_once = reports[i - 1], reports[i]
    around = reports[max(i - 2, 0)], reports[min(i + 1, len(reports) - 1)]
    if not facts.differences(*at_once) and facts.differences(*around):
        return f"between the runs around it {facts.explain(*around)}"
    return facts.explain(*at_once)


def _changes(values: Sequence[float]) -> dict[int, float]:
    """Returns the relative change of the median at the start of each new level."""
    ends = [0, *change_points.change_points(values), len(values)]
    medians = [statistics.median(values[i:j]) for i, j in itertools.pairwise(ends)]
    pairs = itertools.pairwise(medians)
    ratios = [after / before if before else math.inf for before, after in pairs]
    return {i: ratio - 1 for i, ratio in zip(ends[1:-1], ratios, strict=True)}
