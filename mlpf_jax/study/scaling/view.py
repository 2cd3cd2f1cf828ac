"""A scaling study as tables, records and a document, with the talk's questions answered first."""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from mlpf_jax.render import tables
from mlpf_jax.stats import scaling_laws as law_lib
from mlpf_jax.study import findings as scaling
from mlpf_jax.study import formats
from mlpf_jax.study import runs as scaling_runs
from mlpf_jax.study.scaling import notes

FORMAT, FORMAT_VERSION = "mlpf_jax scaling study", 1
_TITLES = {
    "weak": ("Weak scaling", "the same batch per device"),
    "strong": ("Strong scaling", "the same batch on all devices together"),
    "batch": ("Batch size", "one device"),
    "data": ("Training events", "as many updates"),
}
_GIB = 2**30


def view(findings: scaling.Findings) -> tables.View:
    """Returns the study as a page to read and values to compute with."""
    shown = [table for series in findings.series for table in _series_tables(series)]
    if findings.batch_rows:
        shown.append(_batch_table(findings.batch_rows))
    return tables.View(
        tables=tuple(shown),
        notes=tuple(notes.notes(findings)),
        records=tuple(_records(findings.results)),
        document=_document(findings),
    )


def _series_tables(series: scaling.Series) -> Iterator[tables.Table]:
    name, kept = _TITLES[series.study]
    kept += " (emulated)" if series.is_emulated else ""
    if series.study == "data":
        yield _table(f"{name}: {kept}", [_events_cells(row) for row in series.rows])
        return
    for phase in scaling.PHASES:
        if phase == "training" or any(phase in row.rates for row in series.rows):
            cells = [_phase_cells(row, phase, series.study) for row in series.rows]
            yield _table(f"{name}, {phase}: {kept}", cells)


def _table(title: str, cells: Sequence[Mapping[str, str]]) -> tables.Table:
    rows = tuple(tuple(row.values()) for row in cells)
    return tables.Table(title=title, columns=tuple(cells[0]), rows=rows)


def _phase_cells(row: scaling.Row, phase: str, study: scaling.Study) -> dict[str, str]:
    point = row.result.point
    memory = [run.memory_bytes[phase] for run in _runs(row) if phase in run.memory_bytes]
    cells = {
        "devices": str(point.num_devices),
        "per device": str(point.batch_size),
        "events/s": formats.rate(row.rates.get(phase)),
        "ratio" if study == "batch" else "speed-up": formats.ratio(row.ratios.get(phase)),
    }
    if study == "batch":
        cells["GiB"] = f"{max(memory) / _GIB:.3g}" if memory else "-"
    else:
        cells["efficiency"] = formats.share(row.efficiencies.get(phase))
    if phase == "training":
        cells["accuracy"] = _mean(row.accuracy)
    return cells | {"remarks": _remarks(row)}


def _events_cells(row: scaling.Row) -> dict[str, str]:
    passes = [run.passes for run in _runs(row)]
    return {
        "training events": str(row.x),
        "updates": next((str(run.num_updates) for run in _runs(row)), "-"),
        "passes": f"{passes[0]:.3g}" if passes else "-",
        "accuracy": formats.accuracy(row.accuracy),
        "change": formats.change(row.accuracy_change),
        "in training": _mean(row.train_accuracy),
        "remarks": _remarks(row),
    }


def _mean(accuracy: law_lib.Estimate | None) -> str:
    return f"{accuracy.value:.4f}" if accuracy else "-"


def _runs(row: scaling.Row) -> Sequence[scaling_runs.Run]:
    return list(row.result.runs.values())


def _remarks(row: scaling.Row) -> str:
    runs = _runs(row)
    remarks = ["emulated"] if any(run.is_emulated for run in runs) else []
    if row.result.failure is not None:
        remarks.append("failed")
    num_doubtful = sum(bool(run.doubts) for run in runs)
    if num_doubtful:
        remarks.append(f"{num_doubtful} of {len(runs)} runs in doubt")
    return ", ".join(remarks)


def _batch_table(rows: Sequence[scaling.BatchRow]) -> tables.Table:
    cells = [
        {
            "per step": str(row.global_batch_size),
            "updates": str(row.num_updates),
            "passes": f"{row.passes:.3g}",
            "accuracy": formats.accuracy(row.accuracy),
            "change": formats.change(row.accuracy_change),
            "devices": ", ".join(map(str, row.num_devices)),
            "they differ by": formats.spread(row.spread_over_devices),
        }
        for row in rows
    ]
    return _table("Accuracy by the batch on all devices together", cells)


def _records(results: Sequence[scaling_runs.PointResult]) -> Iterator[tables.Record]:
    for result in results:
        point = dataclasses.asdict(result.point)
        common = {"point": result.point.name, **point, "failure": result.failure}
        for number, run in sorted(result.runs.items()):
            fields: dict[str, Any] = dataclasses.asdict(run)
            by_phase = {"events_per_s": fields.pop("rates"), "bytes": fields.pop("memory_bytes")}
            flat = {
                f"{phase}_{name}": value
                for name, values in by_phase.items()
                for phase, value in values.items()
            }
            doubts = "; ".join(fields.pop("doubts"))
            yield {**common, "round": number, **fields, **flat, "doubts": doubts}
        if not result.runs:
            yield common


def _document(findings: scaling.Findings) -> dict[str, Any]:
    return {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "provenance": dict(findings.provenance),
        "arguments": list(findings.arguments),
        "repeats": findings.repeats,
        "is_emulated": any(series.is_emulated for series in findings.series),
        "points": {result.point.name: _point_fields(result) for result in findings.results},
        "studies": {series.study: _series_fields(series) for series in findings.series},
        "batches": [dataclasses.asdict(row) for row in findings.batch_rows],
        "notes": list(notes.notes(findings)),
    }


def _point_fields(result: scaling_runs.PointResult) -> dict[str, Any]:
    return {
        **dataclasses.asdict(result.point),
        "global_batch_size": result.point.global_batch_size,
        "failure": result.failure,
        "runs": {number: dataclasses.asdict(run) for number, run in sorted(result.runs.items())},
    }


def _series_fields(series: scaling.Series) -> dict[str, Any]:
    fields = dataclasses.asdict(series)
    for row, found in zip(fields["rows"], series.rows, strict=True):
        del row["result"]
        row["point"] = found.result.point.name
    return fields | {"is_emulated": series.is_emulated}
