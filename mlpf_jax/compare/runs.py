"""Result files as groups of runs: a file is one, a folder one for each kind of run in it."""

import dataclasses
import json
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from mlpf_jax.report import copies, facts, reader

Tell = Callable[[str], None]  # takes a line about a file that was skipped
_KEYS = {"app", "report", "run_info"}  # by which the report of a run is recognised


@dataclasses.dataclass(frozen=True, kw_only=True)
class Group:
    """Repetitions of one run, at least one, in order of time."""

    name: str
    reports: tuple[reader.Report, ...]

    @property
    def first(self) -> reader.Report:
        """The run that speaks for all where they share what is asked."""
        return self.reports[0]


def read(path: Path) -> reader.Report:
    """Reads one report that has a rate for each of its phases.

    Raises:
        ValueError: if it is none; one line that begins with the path.
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
    """Reads files, and of folders all reports of runs; `tell` gets a line for each other file.

    Runs that `seen` has are left out, and are told by its note.

    Raises:
        ValueError: if one is no sound report, or a folder holds none; one line that begins with
            its path.
        OSError: if it cannot be read.
    """
    reports = [read(file) for path in paths for file in _reports(path, tell)]
    return reports if seen is None else seen.new(reports)


def read_groups(
    paths: Iterable[Path],
    seen: copies.Seen | None = None,
    tell: Tell = lambda line: None,
) -> list[Group]:
    """Reads files and folders; of a folder, runs that differ in nothing known are one group.

    Files that are named one by one stay apart: they are there to be compared. Runs that `seen` has
    are left out, and are told by its note; `tell` gets a line for each file of a folder that is no
    report.

    Raises:
        ValueError: if a file is no sound report; one line that begins with its path.
        OSError: if it cannot be read.
    """
    groups = []
    for path in paths:
        reports = read_all([path], seen, tell)
        groups += group(reports) if path.is_dir() else [_group([report]) for report in reports]
    return groups


def group(reports: Iterable[reader.Report]) -> list[Group]:
    """Returns the runs in groups of repetitions, in the order of each group's first run."""
    alike: dict[tuple[facts.Fact, ...], list[reader.Report]] = {}
    for report in reports:
        alike.setdefault(facts.identity(report), []).append(report)
    return [_group(repetitions) for repetitions in alike.values()]


def is_report(path: Path) -> bool:
    """Whether a file is the report of a run, or too damaged to tell: reading says what it lacks."""
    try:
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
