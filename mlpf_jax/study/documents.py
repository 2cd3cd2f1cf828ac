"""Study files with all runs and findings: writing, and reading to show or draw them again."""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from mlpf_jax.render import tables
from mlpf_jax.report import schema
from mlpf_jax.study import engine, findings, runs
from mlpf_jax.study import trade_offs as trade_offs_lib

FORMAT, FORMAT_VERSION = "mlpf_jax scaling study", 1  # the name dates from before the other studies
AXIS_LABELS = {  # by the varied flag; also for files without labels
    "num_devices": "devices",
    "batch_size": "events per device and step",
    "num_train_events": "training events",
}
_MOST_BYTES = 64 * 2**20
_NUMBER = {"type": "number", "minimum": -1e30, "maximum": 1e30}
_MAYBE = {"anyOf": [{"type": "null"}, _NUMBER]}
_ESTIMATE = {
    "type": "object",
    "required": ["value", "low", "high"],
    "properties": {"value": _NUMBER, "low": _MAYBE, "high": _MAYBE, "count": {"type": "integer"}},
}
_BY_PHASE = {"type": "object", "additionalProperties": _ESTIMATE}
_ROW = {
    "type": "object",
    "required": ["x"],
    "properties": {
        "x": {"type": "integer", "minimum": 1, "maximum": 1e15},
        **dict.fromkeys(("rates", "ratios", "efficiencies", "compile_s", "event_bytes"), _BY_PHASE),
        "accuracy": {"anyOf": [{"type": "null"}, _ESTIMATE]},
    },
}
_STUDY = {
    "type": "object",
    "required": ["axis", "rows"],
    "properties": {
        **{name: {"type": "string"} for name in ("axis", "label", "title")},
        "rows": {"type": "array", "items": _ROW},
        "is_emulated": {"type": "boolean"},
    },
}
_TRADE_OFF = {
    "type": "object",
    "required": ["number", "label", "phases", "fronts"],
    "properties": {
        "number": {"type": "integer", "minimum": 1, "maximum": 1e6},
        "label": {"type": "string"},
        "phases": {"type": "object", "additionalProperties": _BY_PHASE},
        "fronts": {"type": "array", "items": {"type": "string"}},
    },
}
_SCHEMA = {
    "type": "object",
    "required": ["format", "format_version", "studies", "notes"],
    "properties": {
        "format": {"const": FORMAT},
        "format_version": {"const": FORMAT_VERSION},
        "studies": {"type": "object", "additionalProperties": _STUDY},
        "trade_offs": {
            "type": "array",
            "items": _TRADE_OFF,
            "maxItems": trade_offs_lib.MOST_POINTS,
        },
        "notes": {"type": "array", "items": {"type": "string"}},
    },
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class StudyFile:
    """One file written by a study."""

    source: str  # the file's path as given
    document: Mapping[str, Any]

    @property
    def studies(self) -> Mapping[str, Mapping[str, Any]]:
        """The studies by name, such as `weak` or `growth-batch`."""
        return self.document["studies"]

    @property
    def trade_offs(self) -> list[trade_offs_lib.Row]:
        """The points of a sweep; other studies have none."""
        return list(map(trade_offs_lib.read, self.document.get("trade_offs", ())))

    @property
    def notes(self) -> list[str]:
        """The notes of the study, most important first."""
        return self.document["notes"]


def read(path: Path) -> StudyFile | None:
    """Reads a study; None if the file is something else, or unreadable.

    Raises:
        ValueError: if it is a damaged study; the message begins with the path.
        OSError: if it cannot be read.
    """
    try:
        document = schema.load(path, _MOST_BYTES)
    except (ValueError, RecursionError):
        return None
    if not isinstance(document, dict) or document.get("format") != FORMAT:
        return None
    schema.check(document, _SCHEMA, f"{path}: damaged", "the study")
    return StudyFile(source=str(path), document=document)


def recorded(document: Mapping[str, Any]) -> dict[engine.Point, runs.PointResult]:
    """Returns the points of a study's document with their measured runs.

    Raises:
        ValueError: if they do not have the format of this program.
    """
    try:
        return dict(map(_recorded, document["points"].values()))
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise ValueError(f"the points of the study cannot be read: {error!r}") from None


def _recorded(fields: Mapping[str, Any]) -> tuple[engine.Point, runs.PointResult]:
    known = {"global_batch_size", "failure", "runs"}
    point = engine.Point.of({n: v for n, v in fields.items() if n not in known and v})
    names = {field.name for field in dataclasses.fields(runs.Run)}
    found = {}
    for number, recorded_run in fields["runs"].items():
        run: dict[str, Any] = {name: v for name, v in recorded_run.items() if name in names}
        run["doubts"] = tuple(run["doubts"])
        found[int(number)] = runs.Run(**run)
    return point, runs.PointResult(point=point, runs=found, failure=fields["failure"])


def view(
    found: findings.Findings, shown: Sequence[tables.Table], notes: Sequence[str]
) -> tables.View:
    """Returns a view with tables, notes, a record of each run, and the study's document."""
    return tables.View(
        tables=tuple(shown),
        notes=tuple(notes),
        records=tuple(_records(found.results)),
        document=_document(found, notes),
    )


def _records(results: Sequence[runs.PointResult]) -> Iterator[tables.Record]:
    for result in results:
        point = dict(result.point.settings)
        common = {"point": result.point.name, **point, "failure": result.failure}
        for number, run in sorted(result.runs.items()):
            fields: dict[str, Any] = dataclasses.asdict(run)
            by_phase = {
                "events_per_s": fields.pop("rates"),
                "compile_s": fields.pop("compile_s"),
                "bytes": fields.pop("memory_bytes"),
                "bytes_per_event": fields.pop("event_bytes"),
                "events_per_j": fields.pop("events_per_j"),
            }
            flat = {
                f"{phase}_{name}": value
                for name, values in by_phase.items()
                for phase, value in values.items()
            }
            doubts = "; ".join(fields.pop("doubts"))
            yield {**common, "round": number, **fields, **flat, "doubts": doubts}
        if not result.runs:
            yield common


def _document(found: findings.Findings, notes: Sequence[str]) -> dict[str, Any]:
    return {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "provenance": dict(found.provenance),
        "arguments": list(found.arguments),
        "repeats": found.repeats,
        "is_emulated": found.is_emulated,
        "points": {result.point.name: _point_fields(result) for result in found.results},
        "studies": {series.kind.name: _series_fields(series) for series in found.series},
        "batches": [dataclasses.asdict(row) for row in found.batch_rows],
        "trade_offs": [dataclasses.asdict(row) for row in found.trade_offs],
        "notes": list(notes),
    }


def _point_fields(result: runs.PointResult) -> dict[str, Any]:
    sizes: dict[str, Any] = dict(result.point.settings)
    if {"num_devices", "batch_size"} <= sizes.keys():
        sizes["global_batch_size"] = sizes["num_devices"] * sizes["batch_size"]
    return {
        **sizes,
        "failure": result.failure,
        "runs": {number: dataclasses.asdict(run) for number, run in sorted(result.runs.items())},
    }


def _series_fields(series: findings.Series) -> dict[str, Any]:
    fields = dataclasses.asdict(series)
    kind = fields.pop("kind")
    for row, found in zip(fields["rows"], series.rows, strict=True):
        del row["result"]
        row["point"] = found.result.point.name
    named = {"study": kind["name"], "axis": kind["flag"]}
    named |= {name: kind[name] for name in ("title", "label")}
    return named | fields | {"is_emulated": series.is_emulated}
