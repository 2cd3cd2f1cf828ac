"""The summary at the top of the page: sentences, and a card for each row."""

import dataclasses
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import PurePath

from mlpf_jax.compare import comparability, ratio_tables, ratios
from mlpf_jax.render import tables
from mlpf_jax.report import hepscore
from mlpf_jax.stats import comparison

_MOST_SENTENCES = 4
_COUNTED = (
    ("faster", "faster than"),
    ("slower", "slower than"),
    ("cannot tell", "indistinguishable from"),
    (None, "not comparable with"),
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Score:
    """The score of one phase on a card."""

    name: str
    value: str  # events/s
    interval: str
    ratio: str | None  # ratio to the baseline
    verdict: str | None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Card:
    """A summary of one row of the comparison."""

    label: str
    colour: int  # index in the palette, from 1
    machine: str
    files: str
    short_name: str  # machine, or file if all machines are the same
    setting: str
    is_baseline: bool
    scores: tuple[Score, ...]
    facts: tuple[tuple[str, str], ...]
    warnings: tuple[str, ...]


def sentences(found: ratios.Comparison) -> tuple[str, ...]:
    """Returns sentences: how fast the baseline is, and how the others compare with it."""
    baseline, others = found.rows[0], found.rows[1:]
    first = f"{name(baseline)}: {_speeds(baseline)}."
    if len(others) <= _MOST_SENTENCES:
        return (first, *(_against(baseline.label, row) for row in others))
    counted = [_counted(found.rows, p) for p in comparability.PHASES if _has(others, p)]
    return (first, *counted)


def cards(found: ratios.Comparison, num_colours: int) -> tuple[Card, ...]:
    """Returns a card for each row; colours repeat as in the figures."""
    machines = [row.group.first.machine for row in found.rows]
    names = machines if len(set(machines)) == len(machines) else list(map(_file, found.rows))
    return tuple(
        _card(row, 1 + number % num_colours, names[number], is_baseline=not number)
        for number, row in enumerate(found.rows)
    )


def name(row: ratios.Row) -> str:
    """Returns the name of a row in sentences: label and machine."""
    return f"{row.label} ({row.group.first.machine})"


def _speeds(row: ratios.Row) -> str:
    speeds = [
        f"{phase} {tables.number(column.throughput.median)} events/s "
        f"(95 % interval {ratio_tables.interval(column.throughput)})"
        for phase, column in row.phases.items()
    ]
    return ", ".join(speeds)


def _against(baseline: str, row: ratios.Row) -> str:
    clauses = [
        _clause(phase, column.ratio, column.verdict)
        for phase, column in row.phases.items()
        if column.ratio
    ]
    refused: dict[str, list[str]] = {}
    for phase, column in row.phases.items():
        if column.ratio is None:
            refused.setdefault(_reason(row, phase), []).append(phase)
    clauses += [f"no ratio of {' or '.join(p)} ({why})" for why, p in refused.items()]
    return f"{name(row)} against {baseline}: {'; '.join(clauses)}."


def _clause(phase: str, ratio: comparison.Ratio, verdict: comparison.Verdict | None) -> str:
    value, ends = tables.number(ratio.value, 3), tables.interval(ratio.low, ratio.high, 3)
    if verdict == "cannot tell":
        return f"{phase} is indistinguishable (ratio {value}, 95 % interval {ends})"
    return f"{phase} {value} times as fast (95 % interval {ends}), {verdict}"


def _reason(row: ratios.Row, phase: str) -> str:
    reasons = [f.text for f in row.against if f.severity == "refused" and phase in f.scopes]
    return f"refused: {reasons[0]}" if reasons else "not comparable"


def _has(rows: Sequence[ratios.Row], phase: str) -> bool:
    return any(phase in row.phases for row in rows)


def _counted(rows: Sequence[ratios.Row], phase: str) -> str:
    """Summarises many rows: the number of each verdict, and the fastest comparable row."""
    columns = [(row, row.phases[phase]) for row in rows[1:] if phase in row.phases]
    counts = Counter(column.verdict for _, column in columns)
    listed = [f"{counts[w]} {words} {rows[0].label}" for w, words in _COUNTED if counts[w]]
    rows_told = tables.count(len(columns), "other row")
    text = f"{phase.capitalize()}, {rows_told}: {', '.join(listed)}."
    known = [(c.ratio.value, row) for row, c in columns if c.ratio and c.verdict == "faster"]
    if not known:
        return text
    value, fastest = max(known, key=lambda pair: pair[0])
    return f"{text} The fastest is {name(fastest)}, {tables.number(value, 3)} times as fast."


def _file(row: ratios.Row) -> str:
    """Returns a short file name, with its folder if several files have the same name."""
    path = PurePath(row.group.first.source)
    of_folder = path.name == hepscore.FILE_NAME or len(row.group.reports) > 1
    return path.parent.name if of_folder and path.parent.name else path.stem


def _card(row: ratios.Row, colour: int, short_name: str, *, is_baseline: bool) -> Card:
    report = row.group.first
    batch = f"{len(report.devices)} \u00d7 {report.stats['batch_size_per_device']}"
    num_runs = len(row.group.reports)
    setting = [report.variant, f"batch {batch}", *([f"{num_runs} runs"] * (num_runs > 1))]
    return Card(
        label=row.label,
        colour=colour,
        machine=report.machine,
        files=row.group.name,
        short_name=short_name,
        is_baseline=is_baseline,
        setting=", ".join(setting),
        scores=tuple(_score(phase, column) for phase, column in row.phases.items()),
        facts=tuple(_facts(row)),
        warnings=tuple(_warnings(row)),
    )


def _warnings(row: ratios.Row) -> Iterator[str]:
    """Yields the warnings of a row; the reasons to distrust a phase are joined into one."""
    doubts: dict[str, list[str]] = {}
    for text in dict.fromkeys(finding.text for finding in row.own):
        phase, _, reason = text.removeprefix(comparability.DOUBT).partition(": ")
        if text.startswith(comparability.DOUBT) and phase in comparability.PHASES:
            doubts.setdefault(phase, []).append(reason)
        else:
            yield text
    for phase, reasons in doubts.items():
        yield f"{phase}: {', '.join(reasons)}"


def _score(phase: str, column: ratios.PhaseColumn) -> Score:
    return Score(
        name=phase,
        value=tables.number(column.throughput.median),
        interval=ratio_tables.interval(column.throughput),
        ratio=tables.number(column.ratio.value, 3) if column.ratio else None,
        verdict=column.verdict,
    )


def _facts(row: ratios.Row) -> Iterator[tuple[str, str]]:
    if row.accuracies:
        ends = dict.fromkeys(f"{value:.4f}" for value in (min(row.accuracies), max(row.accuracies)))
        yield "accuracy", " to ".join(ends)
    if row.mean_epoch_s is not None:
        yield "epoch", f"{tables.number(row.mean_epoch_s)} s"
    compile_s = [column.compile_s for column in row.phases.values()]
    known = [seconds for seconds in compile_s if seconds is not None]
    if len(known) == len(compile_s):  # a part is not the compilation
        yield "compilation", f"{tables.number(sum(known), 3)} s"
    largest = max(column.memory_bytes for column in row.phases.values())
    yield "memory per device", f"{tables.number(largest / 2**30, 3)} GiB"
