"""Result files as groups of runs: a file is one, a folder one for each kind of run in it."""

import dataclasses
import json
from collections.abc import Iterable, Sequence
from pathlib import Path

import jsonschema

from mlpf_jax.report import facts, reader
from mlpf_jax.study.scaling import documents

# What is computed with and the schema of reports leaves open: JSON has numbers like 1e999.
_NUMBER = {"type": "number", "minimum": 0, "maximum": 1e30}
_NUMBERS = {"type": "array", "items": _NUMBER}
_MAYBE = {"anyOf": [{"type": "null"}, _NUMBER]}
_INTEGER = {"type": "integer", "minimum": 0, "maximum": 1e18}
_COUNTS = {"type": "array", "items": {"type": "integer", "minimum": 1, "maximum": 1e15}}
_PHASE = {
    "properties": {
        **dict.fromkeys(("lower_s", "first_call_s", "flops_per_event"), _NUMBER),
        "compile_s": _MAYBE,
        "flops_per_s": _NUMBER,
        "num_unsteady_samples": _INTEGER,
        "sample_s": {"type": "array", "items": _NUMBER | {"minimum": 1e-12}},
        **dict.fromkeys(("sample_steps", "sample_events", "sample_elements"), _COUNTS),
        "share_of_peak": {"properties": {"share": _NUMBER}},
        "memory_per_device": {"properties": {"total_bytes": _INTEGER}},
        "energy": {"properties": {"events_per_j": _MAYBE}},
        "cost": {"properties": {"per_million_events": _MAYBE}},
    }
}
_STATS = {
    "properties": {
        **dict.fromkeys(("batch_size_per_device", "batch_size_total"), _INTEGER),
        **dict.fromkeys(("mean_epoch_time", "mean_throughput"), _NUMBER),
        **dict.fromkeys(("epoch_times", "throughput_per_epoch"), _NUMBERS),
        "steps_by_epoch": _COUNTS,
        "memory": {"properties": {"peak_process_bytes": _MAYBE}},
        "phases": {"additionalProperties": _PHASE},
    },
    "patternProperties": {"_accuracy$": _NUMBERS},
}
_SCORES = {"additionalProperties": _NUMBER}
_SOUND = {
    "properties": {
        "report": {"properties": {"wl-scores": _SCORES, "wl-stats": _STATS}},
    }
}


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
    """Reads one report, of which every number can be computed with.

    Raises:
        ValueError: if it is none; one line that begins with the path.
        OSError: if it cannot be read.
    """
    _check(path)
    report = reader.read(path)
    for phase in report.phases.values():
        if not phase.rates:
            raise ValueError(f"{path}: incomplete: no steady-state sample of {phase.name}.")
    return report


def read_all(paths: Iterable[Path]) -> list[reader.Report]:
    """Reads files, and all files of folders but scaling studies, which may lie beside results.

    Raises:
        ValueError: if one is no sound report, or a folder holds none; one line that begins with
            its path.
        OSError: if it cannot be read.
    """
    return [read(file) for path in paths for file in _reports(path)]


def read_groups(paths: Iterable[Path]) -> list[Group]:
    """Reads files and folders; of a folder, runs that differ in nothing known are one group.

    Files that are named one by one stay apart: they are there to be compared.

    Raises:
        ValueError: if a file is no sound report; one line that begins with its path.
        OSError: if it cannot be read.
    """
    groups = []
    for path in paths:
        reports = read_all([path])
        groups += group(reports) if path.is_dir() else [_group(reports)]
    return groups


def group(reports: Iterable[reader.Report]) -> list[Group]:
    """Returns the runs in groups of repetitions, in the order of each group's first run."""
    alike: dict[tuple[facts.Fact, ...], list[reader.Report]] = {}
    for report in reports:
        alike.setdefault(facts.identity(report), []).append(report)
    return [_group(repetitions) for repetitions in alike.values()]


def _reports(path: Path) -> list[Path]:
    found = reader.find([path])
    if not path.is_dir():
        return found
    reports = [file for file in found if documents.read(file) is None]
    if not reports:
        raise ValueError(f"{path}: nothing but scaling studies in this folder.")
    return reports


def _group(reports: Sequence[reader.Report]) -> Group:
    reports = sorted(reports, key=lambda report: str(report.stats["started_at"]))
    more = f" and {len(reports) - 1} like it" if len(reports) > 1 else ""
    return Group(name=reports[0].source + more, reports=tuple(reports))


def _check(path: Path) -> None:
    """Refuses a report with what cannot be computed with; what is no report, reading refuses."""
    try:
        document = json.loads(path.read_bytes())
    except (ValueError, RecursionError):
        return
    for error in jsonschema.Draft202012Validator(_SOUND).iter_errors(document):
        place = "/".join(str(part) for part in error.absolute_path)
        raise ValueError(f"{path}: damaged: {place}: {error.message[:200]}")
