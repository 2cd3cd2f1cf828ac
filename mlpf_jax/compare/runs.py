"""Reads result files as groups of runs: a file is one group, a folder one per kind of run."""

import dataclasses
import json
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from mlpf_jax.report import copies, facts, fields, reader

Tell = Callable[[str], None]  # called with a line about each skipped file
_KEYS = {"app", "report", "run_info"}  # keys that identify the report of a run


@dataclasses.dataclass(frozen=True, kw_only=True)
class Group:
    """Repetitions of one run, at least one, in order of time."""

    name: str
    reports: tuple[reader.Report, ...]

    @property
    def first(self) -> reader.Report:
        """The run that represents all, for properties that they share."""
        return self.reports[0]


def read(path: Path) -> reader.Report:
    """Reads one report that has a rate for each of its phases.

    Raises:
        ValueError: if it is not one; the message is one line that begins with the path.
        OSError: if it cannot be read.
    """
    report = reader.read(path)
    for phase in report.phases.values():
        if not phase.rates:
            raise ValueError(f"{path}: incomplete: no steady-state sample of {phase.name}.")
    return report


def read_all(
    paths: Iterable[Path],
    seen: copies.Seen | None = None,
    tell: Tell = lambda line: None,
) -> list[reader.Report]:
    """Reads files, and all reports in folders; `tell` gets a line for each other file.

    Skips runs that `seen` contains; its note reports them.

    Raises:
        ValueError: if one is not a valid report, or a folder has none; the message begins with its
            path.
        OSError: if it cannot be read.
    """
    reports = [read(file) for path in paths for file in _reports(path, tell)]
    return reports if seen is None else seen.new(reports)


def read_groups(
    paths: Iterable[Path],
    seen: copies.Seen | None = None,
    tell: Tell = lambda line: None,
) -> list[Group]:
    """Reads files and folders; runs of a folder without known differences form one group.

    Individually given files are separate groups, since they are to be compared. Skips runs that
    `seen` contains; its note reports them. `tell` gets a line for each file of a folder that is not
    a report.

    Raises:
        ValueError: if a file is not a valid report; the message begins with its path.
        OSError: if it cannot be read.
    """
    groups = []
    for path in paths:
        reports = read_all([path], seen, tell)
        groups += group(reports) if path.is_dir() else [_group([report]) for report in reports]
    return groups


def group(reports: Iterable[reader.Report]) -> list[Group]:
    """Groups the runs by repetition, in the order of each group's first run."""
    alike: dict[tuple[facts.Fact, ...], list[reader.Report]] = {}
    for report in reports:
        alike.setdefault(facts.identity(report), []).append(report)
    return [_group(repetitions) for repetitions in alike.values()]


def is_report(path: Path) -> bool:
    """Whether a file is the report of a run, or too damaged to decide; reading reports it then."""
    try:
        if path.stat().st_size > fields.MOST_BYTES:
            return True
        document = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return True
    return isinstance(document, dict) and document.keys() >= _KEYS


def skipped(path: Path) -> str:
    """Returns the line about a file of a folder that is not used."""
    return f"skipped: {path}: not the report of a run."


def _reports(path: Path, tell: Tell) -> list[Path]:
    found = reader.find([path])
    if not path.is_dir():
        return found
    reports = [file for file in found if is_report(file)]
    if not reports:
        raise ValueError(f"{path}: no report of a run in this folder.")
    for file in sorted(set(found) - set(reports)):
        tell(skipped(file))
    return reports


def _group(reports: Sequence[reader.Report]) -> Group:
    reports = sorted(reports, key=lambda report: str(report.stats["started_at"]))
    more = f" and {len(reports) - 1} like it" if len(reports) > 1 else ""
    return Group(name=reports[0].source + more, reports=tuple(reports))
