"""Shows a comparison: tables with footnotes, CSV records and JSON."""

import dataclasses
import statistics
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from mlpf_jax.compare import comparability, energy_tables, ratios
from mlpf_jax.render import tables
from mlpf_jax.report import facts, reader
from mlpf_jax.stats import summaries

_GIB = 2**30
_NOTES = (
    "Throughput: the median over the steady state of real events per second, all devices together. "
    "Intervals: 95 %.",
    "refused: no ratio, for the given reason. marked: see the footnote.",
)
# Further columns of a phase; columns without any number are omitted.
_PHASE_COLUMNS: dict[str, Callable[[ratios.PhaseColumn], str]] = {
    "TFLOP/s": lambda phase: tables.number(phase.flops_per_s / 1e12),
    "% of peak": lambda phase: tables.number(phase.peak_share and 100 * phase.peak_share),
}


def view(found: ratios.Comparison) -> tables.View:
    """Returns the comparison as a view for any output format."""
    rows, footnotes = found.rows, _footnotes(found.rows)
    phases = [name for name in comparability.PHASES if any(name in row.phases for row in rows)]
    explanations = [f"{row.label} against A: {row.explanation}." for row in rows if row.explanation]
    return tables.View(
        tables=(
            _runs(rows, footnotes),
            *(_phase(name, rows, footnotes) for name in phases),
            *energy_tables.found(rows),
            _start(rows),
            _epochs(rows, footnotes),
        ),
        notes=(
            *(f"[{number}] {text}" for number, text in enumerate(footnotes, 1)),
            *explanations,
            *_NOTES,
            *_statistics(found),
        ),
        records=tuple(_record(row) for row in rows),
        document=_document(found),
    )


def interval(score: summaries.Summary) -> str:
    """Formats the 95 % interval of samples; too few of them have none."""
    if not score.has_interval:
        return "unknown"
    return tables.interval(score.interval_low, score.interval_high)


def _footnotes(rows: Iterable[ratios.Row]) -> tuple[str, ...]:
    findings = (finding for row in rows for finding in (*row.against, *row.own))
    return tuple(dict.fromkeys(map(str, findings)))


def _marked(cell: str, findings: Iterable[comparability.Finding], footnotes: Sequence[str]) -> str:
    """Returns the cell with the numbers of its footnotes."""
    numbers = sorted({footnotes.index(str(finding)) + 1 for finding in findings})
    return " ".join([cell, *(f"[{number}]" for number in numbers)])


def _runs(rows: Sequence[ratios.Row], footnotes: Sequence[str]) -> tables.Table:
    lines = []
    for row in rows:
        report = row.group.first
        general = [finding for finding in row.own if finding.scopes == comparability.ALL]
        lines.append(
            (
                row.label,
                _marked(row.group.name, general, footnotes),
                report.machine,
                report.variant,
                f"{len(report.devices)} x {report.stats['batch_size_per_device']}",
                _events(report),
                _steps(report.stats.get("steps_by_epoch", [])),
                str(len(row.group.reports)),
            )
        )
    columns = ("", "file", "machine", "precision", "batch", "events", "steps", "runs")
    return tables.Table(title="Runs (A is the baseline)", columns=columns, rows=tuple(lines))


def _events(report: reader.Report) -> str:
    counts = [facts.at(report.stats["data"], name, "num_events") for name in ("train", "test")]
    return " + ".join(str(count) for count in counts if count is not None)


def _steps(steps: Sequence[int]) -> str:
    """Epochs and the steps of each: `5 x 69`, or `1 x 80 + 1 x 20`."""
    return " + ".join(f"{steps.count(n)} x {n}" for n in dict.fromkeys(steps)) or "-"


def _phase(
    name: comparability.Scope, rows: Sequence[ratios.Row], footnotes: Sequence[str]
) -> tables.Table:
    there = [row.phases[name] for row in rows if name in row.phases]
    columns = {
        heading: cell
        for heading, cell in _PHASE_COLUMNS.items()
        if any(cell(phase) != "-" for phase in there)
    }
    headings = ("", "events/s", "interval", "ratio to A", "ratio's interval", "verdict", *columns)
    lines = []
    for row in rows:
        phase = row.phases.get(name)
        cells = ("-",) * (len(headings) - 1)
        if phase is not None:
            ratio = _ratio(row, name, footnotes)
            cells = (
                *_throughput(row, name, footnotes),
                *ratio,
                *(c(phase) for c in columns.values()),
            )
        lines.append((row.label, *cells))
    return tables.Table(title=name.capitalize(), columns=headings, rows=tuple(lines))


def _throughput(
    row: ratios.Row, name: comparability.Scope, footnotes: Sequence[str]
) -> tuple[str, str]:
    score = row.phases[name].throughput
    own = [f for f in row.own if name in f.scopes and f.scopes != comparability.ALL]
    cell = _marked(tables.number(score.median), own, footnotes)
    return cell, interval(score)


def _ratio(
    row: ratios.Row, name: comparability.Scope, footnotes: Sequence[str]
) -> tuple[str, str, str]:
    phase = row.phases[name]
    against = [finding for finding in row.against if name in finding.scopes]
    if phase.ratio is None or phase.verdict is None:
        word = "refused" if against else "baseline"
        return _marked(word, against, footnotes), "-", "-"
    ratio = _marked(f"{phase.ratio.value:.3f}", against, footnotes)
    return ratio, tables.interval(phase.ratio.low, phase.ratio.high, 3), phase.verdict


def _start(rows: Sequence[ratios.Row]) -> tables.Table:
    return tables.Table(
        title="Compilation, first call, and memory as planned by the compiler",
        columns=("", "step", "compile s", "first call s", "GiB per device"),
        rows=tuple(
            (
                row.label,
                name,
                tables.number(phase.compile_s),
                tables.number(phase.first_call_s),
                tables.number(phase.memory_bytes / _GIB),
            )
            for row in rows
            for name, phase in row.phases.items()
        ),
    )


def _epochs(rows: Sequence[ratios.Row], footnotes: Sequence[str]) -> tables.Table:
    lines = []
    for row in rows:
        concerned = [
            f
            for f in (*row.against, *row.own)
            if "epochs" in f.scopes and (f in row.against or f.scopes != comparability.ALL)
        ]
        process = row.peak_process_bytes
        lines.append(
            (
                row.label,
                tables.number(row.mean_epoch_s),
                tables.number(row.mean_throughput),
                _marked(_accuracy(row.accuracies), concerned, footnotes),
                tables.number(None if process is None else process / _GIB),
            )
        )
    return tables.Table(
        title="Epochs, accuracy and the process",
        columns=("", "mean epoch s", "mean events/s", "accuracy", "GiB of the process"),
        rows=tuple(lines),
    )


def _accuracy(values: Sequence[float]) -> str:
    if not values:
        return "-"
    ends = [f"{value:.4f}" for value in (min(values), max(values))]
    return " to ".join(dict.fromkeys(ends))


def _statistics(found: ratios.Comparison) -> list[str]:
    bases = {p.ratio_basis for row in found.rows for p in row.phases.values() if p.ratio_basis}
    texts = {
        "samples": "Ratios are between samples of few processes, which do not show the variation "
        f"between processes: {100 * found.run_noise:g} % (--run_noise) is included in "
        "their intervals. For narrower intervals, compare folders of runs.",
        "runs": "Ratios between rows with several runs are ratios of the medians of the runs.",
    }
    return [text for basis, text in texts.items() if basis in bases]


def _record(row: ratios.Row) -> tables.Record:
    report = row.group.first
    record = {
        "label": row.label,
        "file": row.group.name,
        "runs": len(row.group.reports),
        "machine": report.machine,
        "emulated": report.is_emulated,
        "precision": report.precision,
        "padding": report.padding,
        "devices": len(report.devices),
        "batch_per_device": report.stats["batch_size_per_device"],
        "batch_total": report.stats["batch_size_total"],
        "events": _events(report),
        "steps": _steps(report.stats.get("steps_by_epoch", [])),
    }
    for name in comparability.PHASES:
        phase = row.phases.get(name)
        fields = _flat(dataclasses.asdict(phase)) if phase else {}
        record |= {f"{name}_{field}": value for field, value in fields.items()}
    return record | {
        "mean_epoch_s": row.mean_epoch_s,
        "mean_events_per_s": row.mean_throughput,
        "accuracy": statistics.median(row.accuracies) if row.accuracies else None,
        "training_cost": row.training_cost,
        "training_cost_low": row.training_cost_low,
        "training_cost_high": row.training_cost_high,
        "currency": row.currency,
        "peak_process_bytes": row.peak_process_bytes,
        "findings": "; ".join(dict.fromkeys(map(str, (*row.against, *row.own)))),
        "against_baseline": row.explanation,
    }


def _flat(fields: dict[str, Any]) -> dict[str, Any]:
    """Flattens nested parts: `ratio: {low}` becomes `ratio_low`."""
    flat: dict[str, Any] = {}
    for name, value in fields.items():
        if isinstance(value, dict):
            flat |= {f"{name}_{inner}": number for inner, number in value.items()}
        elif value is not None:
            flat[name] = value
    return flat


def _document(found: ratios.Comparison) -> dict[str, Any]:
    return {
        "run_noise": found.run_noise,
        "rows": [
            {
                "label": row.label,
                "files": [report.source for report in row.group.reports],
                "facts": [
                    {"category": fact.category, "name": fact.name, "value": fact.value}
                    for fact in facts.facts(row.group.first)
                ],
                "phases": {n: dataclasses.asdict(phase) for n, phase in row.phases.items()},
                "mean_epoch_s": row.mean_epoch_s,
                "mean_events_per_s": row.mean_throughput,
                "accuracies": row.accuracies,
                "training_cost": row.training_cost,
                "training_cost_low": row.training_cost_low,
                "training_cost_high": row.training_cost_high,
                "currency": row.currency,
                "peak_process_bytes": row.peak_process_bytes,
                "own": [dataclasses.asdict(finding) for finding in row.own],
                "against_baseline": [dataclasses.asdict(finding) for finding in row.against],
                "explanation": row.explanation,
            }
            for row in found.rows
        ],
    }
