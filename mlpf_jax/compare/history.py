"""Results kept in plain folders, and how a number of theirs went with time.

DIR/<machine class>/<start of the run>_<digest of the file>.json: a file's name follows from its
content, so adding one twice changes nothing and no file ever takes the place of another.
"""

import dataclasses
import datetime
import hashlib
import itertools
import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from mlpf_jax import atomic
from mlpf_jax.compare import runs
from mlpf_jax.report import facts, reader
from mlpf_jax.stats import change_points

_LONGEST_NAME = 100  # of a folder; file systems take 255 bytes


@dataclasses.dataclass(frozen=True)
class Metric:
    """One number of a run over which a history goes."""

    label: str  # with the unit
    higher_is_better: bool
    of: Callable[[reader.Report], float | None]  # None: the run has none


@dataclasses.dataclass(frozen=True, kw_only=True)
class Point:
    """One run in a series."""

    report: reader.Report
    started_at: datetime.datetime
    value: float
    change: float | None  # relative, from the level before to the one that begins here
    explanation: str | None  # of what changed from the run before; None where no level begins


@dataclasses.dataclass(frozen=True, kw_only=True)
class Series:
    """Runs of one machine class and configuration, in order of their start."""

    machine: str
    machine_class: str
    work: str  # the configuration in words, without what few runs change
    configuration: str  # first digits of a digest of all of it
    points: tuple[Point, ...]


@dataclasses.dataclass(frozen=True)
class Added:
    """Where a result lies, and whether it lay there before."""

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
    """Copies results into the store, all or, if one is no sound report, none.

    Raises:
        ValueError: if a file is no sound report, or what lies in its place is not the same.
        OSError: if something cannot be read or written.
    """
    contents = [(_place(folder, file), file.read_bytes()) for file in reader.find(paths)]
    added = []
    for path, content in contents:
        is_new = not path.exists()
        if is_new:
            path.parent.mkdir(parents=True, exist_ok=True)
            atomic.write_file(path, content)
        elif path.read_bytes() != content:
            raise ValueError(f"{path}: damaged: its content is not what its name says.")
        added.append(Added(path, is_new))
    return added


def series(reports: Iterable[reader.Report], name: str) -> list[Series]:
    """Returns one of `METRICS` of the runs that have it, by machine class and configuration.

    Raises:
        ValueError: if a run's start is no time.
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
    """Returns a short digest of the settings and the events: with others there is another work."""
    of_work = [fact for fact in facts.facts(report) if fact.category in ("settings", "events")]
    return hashlib.sha256(repr(of_work).encode()).hexdigest()[:8]


def started_at(report: reader.Report) -> datetime.datetime:
    """Returns the start of a run in UTC.

    Raises:
        ValueError: if it is no time; one line that begins with the report's path.
    """
    text = report.stats["started_at"]
    try:
        found = datetime.datetime.fromisoformat(text)
        return found.replace(tzinfo=found.tzinfo or datetime.UTC).astimezone(datetime.UTC)
    except (OverflowError, TypeError, ValueError):
        raise ValueError(f"{report.source}: started_at {text!r} is no time.") from None


def _words(report: reader.Report) -> str:
    stats = report.stats
    num_events = (
        facts.at(stats["data"], "train", "num_events") or stats["data"]["test"]["num_events"]
    )
    return f"{report.variant}, {num_events} events, batch {stats['batch_size_total']}"


def _place(folder: Path, file: Path) -> Path:
    report = runs.read(file)
    digest = hashlib.sha256(file.read_bytes()).hexdigest()[:12]
    name = f"{started_at(report):%Y%m%dT%H%M%SZ}_{digest}.json"
    return folder / report.machine_class[:_LONGEST_NAME] / name


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
    """Says what changed at a run; if nothing did, around it, for noise moves a change by a run."""
    at_once = reports[i - 1], reports[i]
    around = reports[max(i - 2, 0)], reports[min(i + 1, len(reports) - 1)]
    if not facts.differences(*at_once) and facts.differences(*around):
        return f"between the runs around it {facts.explain(*around)}"
    return facts.explain(*at_once)


def _changes(values: Sequence[float]) -> dict[int, float]:
    """Returns by how much the median changes, relatively, where a new level begins."""
    ends = [0, *change_points.change_points(values), len(values)]
    medians = [statistics.median(values[i:j]) for i, j in itertools.pairwise(ends)]
    ratios = [after / before for before, after in itertools.pairwise(medians)]
    return {i: ratio - 1 for i, ratio in zip(ends[1:-1], ratios, strict=True)}
