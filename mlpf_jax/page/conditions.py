"""Tables of the measurement conditions: uncertainty of the samples and differences of rows."""

from collections.abc import Mapping, Sequence
from typing import Any

from mlpf_jax.compare import ratios
from mlpf_jax.measure import trust
from mlpf_jax.render import tables
from mlpf_jax.report import facts, reader
from mlpf_jax.stats import summaries

_DIGITS = set("0123456789abcdef")
_DRIFTS = {"none": "no", "drifting": "yes", "too few samples": "too few samples"}
_MACHINE = (
    ("governors", "frequency governor"),
    ("core_mhz", "mean core frequency, MHz"),
    ("swapped_pages", "pages swapped since start"),
    ("throttle_events", "times throttled by heat since start"),
    ("gpu_slowdowns", "reasons for slowed GPUs"),
)


def certainty(rows: Sequence[ratios.Row]) -> tables.Table:
    """Returns a table of the sample statistics of each row's first run."""
    lines = [
        _certainty(row.label, name, phase)
        for row in rows
        for name, phase in row.group.first.phases.items()
    ]
    columns = (
        "",
        "phase",
        "samples",
        "independent",
        "of warm-up",
        "spread %",
        "drift",
        "change %",
        "cores of others",
        "stolen cores",
    )
    return tables.Table(
        title="How sure the samples are (first run of each row)", columns=columns, rows=tuple(lines)
    )


def differing(rows: Sequence[ratios.Row]) -> tables.Table | None:
    """Returns a table of the facts that differ between rows; None for a single row."""
    if len(rows) < 2:
        return None
    table = everything(rows)
    lines = tuple(line for line in table.rows if len(set(line[2:])) > 1)
    return tables.Table(title="What differs", columns=table.columns, rows=lines)


def everything(rows: Sequence[ratios.Row]) -> tables.Table:
    """Returns a table of all facts of each row's first run, one per line."""
    known = [{(f.category, f.name): f.value for f in facts.facts(r.group.first)} for r in rows]
    keys = sorted(
        dict.fromkeys(key for found in known for key in found),
        key=lambda key: facts.CATEGORIES.index(key[0]),
    )
    lines = [(key[1], key[0], *(short(found.get(key)) for found in known)) for key in keys]
    return tables.Table(
        title="Everything recorded of the environment",
        columns=("fact", "part", *(row.label for row in rows)),
        rows=tuple(lines),
    )


def machines(rows: Sequence[ratios.Row]) -> tables.Table | None:
    """Returns a table of the machines' states before and after the measurement, if recorded."""
    states = [_states(row.group.first) for row in rows]
    if not any(states):
        return None
    lines = [
        (words, *(_change(state, key) for state in states))
        for key, words in _MACHINE
        if any(_change(state, key) != "-" for state in states)
    ]
    return tables.Table(
        title="The machine before and after the measurement",
        columns=("", *(row.label for row in rows)),
        rows=tuple(lines),
    )


def processes(rows: Sequence[ratios.Row]) -> tables.Table | None:
    """Returns a table with a line per process of runs on several hosts; None if there is none."""
    runs = [(row.label, row.group.first) for row in rows]
    lines = [_process(label, one) for label, run in runs for one in run.processes or ()]
    if not lines:
        return None
    columns = ("", "process", "host", "devices", "training step", "inference step", "weights")
    return tables.Table(
        title="Processes: seconds per step until each was done itself",
        columns=(*columns, "doubts"),
        rows=tuple(lines),
    )


def _process(label: str, one: Mapping[str, Any]) -> tuple[str, ...]:
    steps = [one["step_s"].get(name) for name in ("training", "inference")]
    return (
        label,
        str(one["process_id"]),
        one["host"],
        str(one["num_devices"]),
        *map(tables.number, steps),
        short(one["params_sha256"]),
        "; ".join(one["doubts"]) or "none",
    )


def short(value: str | None) -> str:
    """Formats a fact: the first digits of a digest, a dash if it is unknown."""
    if value is None:
        return "\u2013"
    is_digest = len(value) in (32, 40, 64) and set(value) <= _DIGITS
    return value[:12] if is_digest else value or "none"


def _certainty(label: str, name: str, phase: reader.Phase) -> tuple[str, ...]:
    score, drift = phase.score, summaries.drift(phase.rates)
    steady = phase.steady_samples
    load = trust.mean_load([s.load for s in steady], [s.seconds for s in steady])
    return (
        label,
        name,
        str(len(phase.samples)),
        tables.number(score.effective_count, 3),
        str(phase.num_unsteady),
        f"{100 * score.spread / score.median:.2f}",
        _DRIFTS[drift.verdict],
        "-" if drift.verdict == "too few samples" else f"{100 * drift.change:+.1f}",
        f"{load.other_cores:.2f}" if load else "-",
        f"{load.stolen_cores:.2f}" if load else "-",
    )


def _states(report: reader.Report) -> tuple[Any, Any] | None:
    before, after = (facts.at(report.stats, "machine", when) for when in ("before", "after"))
    return (before, after) if isinstance(before, dict) and isinstance(after, dict) else None


def _change(states: tuple[Any, Any] | None, key: str) -> str:
    """Formats a value before and after, or once if it did not change."""
    if states is None:
        return "-"
    texts = [_text(state.get(key)) for state in states]
    return " \u2192 ".join(dict.fromkeys(texts))


def _text(value: Any) -> str:
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value)) or "none"
    if isinstance(value, float):
        return f"{value:.0f}"
    return "-" if value is None else str(value)
