"""Shows scaling studies as tables, with answers to the talk's questions in the notes."""

from collections.abc import Iterator, Mapping, Sequence

from mlpf_jax.render import tables
from mlpf_jax.stats import scaling_laws as law_lib
from mlpf_jax.study import documents, findings, formats, runs
from mlpf_jax.study.scaling import notes

_GIB = 2**30


def view(found: findings.Findings) -> tables.View:
    """Returns a view of the studies: tables for people, and values for programs."""
    shown = [table for series in found.series for table in _series_tables(series)]
    if found.batch_rows:
        shown.append(_batch_table(found.batch_rows))
    return documents.view(found, shown, list(notes.notes(found)))


def _series_tables(series: findings.Series) -> Iterator[tables.Table]:
    name = series.kind.title
    kept = series.kind.kept + (" (emulated)" if series.is_emulated else "")
    if series.kind.name == "data":
        yield _table(f"{name}: {kept}", [_events_cells(row) for row in series.rows])
        return
    for phase in runs.PHASES:
        if phase == "training" or any(phase in row.rates for row in series.rows):
            cells = [_phase_cells(row, phase, series.kind.name) for row in series.rows]
            yield _table(f"{name}, {phase}: {kept}", cells)


def _table(title: str, cells: Sequence[Mapping[str, str]]) -> tables.Table:
    rows = tuple(tuple(row.values()) for row in cells)
    return tables.Table(title=title, columns=tuple(cells[0]), rows=rows)


def _phase_cells(row: findings.Row, phase: str, study: str) -> dict[str, str]:
    point = row.result.point
    memory = [run.memory_bytes[phase] for run in _runs(row) if phase in run.memory_bytes]
    cells = {
        "devices": str(point.get("num_devices")),
        "per device": str(point.get("batch_size")),
        "events/s": formats.rate(row.rates.get(phase)),
        "ratio" if study == "batch" else "speed-up": formats.ratio(row.ratios.get(phase)),
    }
    if study == "batch":
        cells["GiB"] = f"{max(memory) / _GIB:.3g}" if memory else "-"
    else:
        cells["efficiency"] = formats.share(row.efficiencies.get(phase))
    if phase == "training":
        cells["accuracy"] = _mean(row.accuracy)
    return cells | {"remarks": row.result.remarks}


def _events_cells(row: findings.Row) -> dict[str, str]:
    passes = [run.passes for run in _runs(row)]
    return {
        "training events": str(row.x),
        "updates": next((str(run.num_updates) for run in _runs(row)), "-"),
        "passes": f"{passes[0]:.3g}" if passes else "-",
        "accuracy": formats.accuracy(row.accuracy),
        "change": formats.change(row.accuracy_change),
        "in training": _mean(row.train_accuracy),
        "remarks": row.result.remarks,
    }


def _mean(accuracy: law_lib.Estimate | None) -> str:
    return f"{accuracy.value:.4f}" if accuracy else "-"


def _runs(row: findings.Row) -> Sequence[runs.Run]:
    return list(row.result.runs.values())


def _batch_table(rows: Sequence[findings.BatchRow]) -> tables.Table:
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
