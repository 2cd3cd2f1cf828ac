"""Shows a metric's history: tables with bars and marked changes, CSV records and JSON."""

from collections.abc import Sequence

from mlpf_jax.compare import history
from mlpf_jax.render import tables

_BAR = 16  # characters
_EIGHTHS = " ▏▎▍▌▋▊▉"


def view(found: Sequence[history.Series], name: str) -> tables.View:
    """Returns the history of a metric as a view for any output format."""
    metric = history.METRICS[name]
    changed = [
        (i, j)
        for i, series in enumerate(found)
        for j, point in enumerate(series.points)
        if point.change is not None
    ]
    notes = []
    for number, (i, j) in enumerate(changed, 1):
        point = found[i].points[j]
        notes.append(f"[{number}] {_verdict(point, metric)}: {point.explanation}.")
    records = [[_record(series, point) for point in series.points] for series in found]
    return tables.View(
        tables=tuple(_table(i, series, name, changed) for i, series in enumerate(found)),
        notes=(*notes, _summary(name, found, len(changed))),
        records=tuple(record for of_series in records for record in of_series),
        document={
            "metric": name,
            "label": metric.label,
            "higher_is_better": metric.higher_is_better,
            "series": [{"points": of_series} for of_series in records],
        },
    )


def _table(
    i: int, series: history.Series, name: str, changed: Sequence[tuple[int, int]]
) -> tables.Table:
    most = max(point.value for point in series.points)
    rows = []
    for j, point in enumerate(series.points):
        number = changed.index((i, j)) + 1 if (i, j) in changed else None
        mark = f"{_percent(point.change)} [{number}]" if number else ""
        versions = point.report.environment["versions"]
        rows.append(
            (
                f"{point.started_at:%Y-%m-%d %H:%M}",
                _commit(point),
                versions["jax"],
                tables.number(point.value),
                _bar(point.value / most if most > 0 else 0.0),
                mark,
            )
        )
    return tables.Table(
        title=f"{series.machine}; {series.work} ({series.configuration})",
        columns=("start, UTC", "commit", "jax", history.METRICS[name].label, "", "change"),
        rows=tuple(rows),
    )


def _record(series: history.Series, point: history.Point) -> tables.Record:
    return {
        "machine_class": series.machine_class,
        "configuration": series.configuration,
        "started_at": point.started_at.isoformat(),
        "commit": _commit(point),
        "file": point.report.source,
        "value": point.value,
        "change": point.change,
        "explanation": point.explanation,
    }


def _commit(point: history.Point) -> str:
    return str(point.report.environment["git_commit"] or "-")[:12]


def _verdict(point: history.Point, metric: history.Metric) -> str:
    is_better = ((point.change or 0.0) > 0) == metric.higher_is_better
    return f"{_percent(point.change)}, {'better' if is_better else 'worse'}"


def _percent(change: float | None) -> str:
    return f"{100 * (change or 0.0):+.1f} %"


def _bar(share: float) -> str:
    """Returns a bar that starts at zero, with a length proportional to the value."""
    eighths = round(8 * _BAR * min(max(share, 0.0), 1.0))
    return ("█" * (eighths // 8) + _EIGHTHS[eighths % 8]).rstrip()


def _summary(name: str, found: Sequence[history.Series], num_changes: int) -> str:
    num_runs = sum(len(series.points) for series in found)
    return (
        f"{name}: {num_runs} runs in {len(found)} series of one machine class and configuration; "
        f"changes of level: {num_changes}, each from the median of a level to that of the next."
    )
