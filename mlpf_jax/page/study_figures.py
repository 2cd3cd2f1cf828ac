"""Figures along an axis: of the given results over devices and batches, and of studies."""

import dataclasses
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from matplotlib import axes, figure

from mlpf_jax.compare import ratios
from mlpf_jax.page import sheet
from mlpf_jax.render import escaping, tables
from mlpf_jax.report import facts
from mlpf_jax.study import documents, runs, trade_off_plots

_HEIGHT = 200.0
_SWEEP_ROW, _SWEEP_FRAME = 12.0, 44.0  # heights of a point and of the axis below, in points
_LONGEST = 60  # characters of a title
_LABEL_OFFSETS = ((9, -9), (-9, 4), (9, 4), (-9, -9))  # points, for labels that would overlap
_SHOWN = {  # columns of a study's rows, by phase
    "rates": "events/s",
    "efficiencies": "efficiency",
    "compile_s": "seconds to lower and compile",
    "event_bytes": "planned bytes per event",
}


@dataclasses.dataclass(frozen=True)
class Point:
    """A value along an axis, with its interval."""

    x: int
    value: float
    low: float
    high: float
    is_emulated: bool
    row: int | None = None  # index in the comparison
    label: str = ""


@dataclasses.dataclass(frozen=True)
class Line:
    """Points of one kind."""

    title: str
    points: tuple[Point, ...]


def plots(rows: Sequence[ratios.Row], files: Sequence[documents.StudyFile]) -> list[sheet.Plot]:
    """Returns figures of rows that differ only in devices or batch, and of every study."""
    found = [*_of_rows(rows)]
    for number, file in enumerate(files, 1):
        for name, study in file.studies.items():
            found += _of_study(number, name, study)
        found += _of_sweep(number, file)
    return found


def _of_sweep(number: int, file: documents.StudyFile) -> Iterator[sheet.Plot]:
    colours = trade_off_plots.Colours(front=sheet.colour(0), other=sheet.MUTED, paper=sheet.PAPER)
    rows = file.trade_offs
    for panel in trade_off_plots.panels(rows, colours, _plain):

        def paint(picture: figure.Figure, panel: trade_off_plots.Panel = panel) -> None:
            panel.paint(picture.subplots())

        yield sheet.plot(
            f"study-{number}-sweep-{panel.name}",
            f"Study {number}, sweep, {panel.title}",
            "Filled: on the Pareto front. Bars: 95 % intervals over runs. The numbers are those of "
            "the points in the table of the sweep.",
            panel.description,
            paint,
            height=max(_HEIGHT, _SWEEP_FRAME + _SWEEP_ROW * panel.num_rows),
        )


def _of_rows(rows: Sequence[ratios.Row]) -> Iterator[sheet.Plot]:
    for phase in runs.PHASES:
        for axis_name in ("num_devices", "batch_size"):
            found = [line for line in _lines(rows, phase, axis_name) if _is_line(line)]
            if found:
                yield _figure(
                    f"scaling-{axis_name.replace('_', '-')}-{phase}",
                    f"Throughput of {phase} by {documents.AXIS_LABELS[axis_name]}",
                    found,
                    (documents.AXIS_LABELS[axis_name], "events/s"),
                    shows_ideal=axis_name == "num_devices",
                )


def _lines(rows: Sequence[ratios.Row], phase: str, axis_name: str) -> list[Line]:
    """Groups rows that differ only along the axis (or in libraries and system) into lines."""
    alike: dict[tuple[str, ...], list[Point]] = {}
    for row in rows:
        if phase not in row.phases:
            continue
        report, score = row.group.first, row.phases[phase].throughput
        places = {
            "num_devices": len(report.devices),
            "batch_size": report.stats["batch_size_per_device"],
        }
        x = places.pop(axis_name)
        fixed = facts.facts(report)
        key = (
            *map(str, places.values()),
            report.devices[0]["name"],
            *(f.value for f in fixed if f.name.startswith(("model.", "data.num_elements"))),
            *(f.value for f in fixed if f.category in ("compiler", "code")),
            *(f.value for f in fixed if f.name in ("precision", "padding", "CPU")),
        )
        ends = score.interval_low, score.interval_high
        if not score.has_interval:
            ends = score.median, score.median
        number = rows.index(row)
        point = Point(x, score.median, *ends, report.is_emulated, number, row.label)
        alike.setdefault(key, []).append(point)
    ordered = [sorted(points, key=lambda point: point.x) for points in alike.values()]
    return [Line("", tuple(points)) for points in ordered]


def _is_line(line: Line) -> bool:
    return len({point.x for point in line.points}) > 1


def _of_study(number: int, name: str, study: Mapping[str, Any]) -> Iterator[sheet.Plot]:
    axis = study["axis"]
    label = _plain(study.get("label") or documents.AXIS_LABELS.get(axis, axis))
    title = f"Study {number}, {_plain(study.get('title') or name)}"
    name = re.sub(r"[^A-Za-z0-9-]", lambda sign: f"_{ord(sign[0]):x}_", name)  # names stay distinct
    for key, unit in _SHOWN.items():
        by_phase = {phase: _points(study, key, phase) for phase in runs.PHASES}
        found = [Line(phase, points) for phase, points in by_phase.items() if len(points) > 1]
        if found:
            shows_ideal = study["axis"] == "num_devices" and key == "rates"
            plot_name = f"study-{number}-{name}-{key}"
            yield _figure(
                plot_name, f"{title}: {unit}", found, (label, unit), shows_ideal=shows_ideal
            )
    points = tuple(
        _point(study, row["x"], row["accuracy"]) for row in study["rows"] if row.get("accuracy")
    )
    if len(points) > 1:
        plot_name = f"study-{number}-{name}-accuracy"
        yield _figure(plot_name, f"{title}: accuracy", [Line("", points)], (label, "accuracy"))


def _plain(text: str) -> str:
    """Returns text of a file for a figure: ASCII, and of limited length."""
    return re.sub(r"[^ -~]", "?", escaping.clean(text))[:_LONGEST]


def _points(study: Mapping[str, Any], key: str, phase: str) -> tuple[Point, ...]:
    return tuple(
        _point(study, row["x"], row[key][phase])
        for row in study["rows"]
        if phase in row.get(key, {})
    )


def _point(study: Mapping[str, Any], x: int, estimate: Mapping[str, Any]) -> Point:
    """Unbounded intervals are not drawn, and a single device never counts as emulated."""
    is_one_device = study["axis"] == "num_devices" and x == 1
    is_emulated = bool(study.get("is_emulated")) and not is_one_device
    value = float(estimate["value"])
    ends = estimate["low"], estimate["high"]
    low, high = (value, value) if None in ends else map(float, ends)
    return Point(x, value, low, high, is_emulated)


def _figure(
    name: str,
    title: str,
    found: Sequence[Line],
    words: tuple[str, str],
    *,
    shows_ideal: bool = False,
) -> sheet.Plot:
    xs = sorted({point.x for line in found for point in line.points})
    values = [point.value for line in found for point in line.points]

    def paint(picture: figure.Figure) -> None:
        ax = picture.subplots()
        for number, line in enumerate(found):
            _draw(ax, line, number, shows_ideal=shows_ideal)
        _set_axes(ax, xs, values, words)
        if any(line.title for line in found):
            picture.legend(loc="outside upper left", ncols=4)

    return sheet.plot(
        name,
        title,
        _notes(found, shows_ideal=shows_ideal),
        "; ".join(
            f"{line.title or 'all'}: "
            + ", ".join(f"{sheet.plain(p.x)} {tables.number(p.value)}" for p in line.points)
            for line in found
        ),
        paint,
        height=_HEIGHT,
    )


def _set_axes(
    ax: axes.Axes, xs: Sequence[int], values: Sequence[float], words: tuple[str, str]
) -> None:
    sheet.scale(ax, "x", log=True)
    ax.set_xticks(xs[:12], [sheet.plain(x) for x in xs[:12]])
    ax.set_xticks([], minor=True)
    log = words[1] not in ("accuracy", "efficiency") and min(values) > 0
    sheet.scale(ax, "y", log=log, span=max(values) / min(values) if log else 1.0)
    if words[1] == "accuracy":  # older studies may have accuracy intervals beyond 0 and 1
        bottom, top = ax.get_ylim()
        ax.set_ylim(max(bottom, -0.02), min(top, 1.02))
    ax.set_xlabel(f"{words[0]}, logarithmic")
    ax.set_ylabel(words[1] + (", logarithmic" if log else ""))


def _notes(found: Sequence[Line], *, shows_ideal: bool) -> str:
    notes = ["Bars: 95 % intervals."]
    emulated = [any(point.is_emulated for point in line.points) for line in found]
    if shows_ideal and not all(emulated):
        notes.append("Dashed: ideal scaling from the first point.")
    if any(emulated):
        notes.append(
            "Hollow: virtual devices share one CPU; this shows nothing about real devices."
        )
    return " ".join(notes)


def _draw(ax: axes.Axes, line: Line, number: int, *, shows_ideal: bool) -> None:
    """Draws lines. Points of rows have their rows' colours and grey lines; others one colour."""
    xs = [point.x for point in line.points]
    values = [point.value for point in line.points]
    of_rows = line.points[0].row is not None
    tone = sheet.MUTED if of_rows else sheet.colour(number)
    if shows_ideal and not any(point.is_emulated for point in line.points):
        ideal = [values[0] * x / xs[0] for x in xs]
        ax.plot(xs, ideal, color=tone, linewidth=0.9, alpha=0.7, dashes=(4, 3))
    ax.plot(xs, values, color=tone, linewidth=1.0, label=line.title or None)
    for point in line.points:
        paint = tone if point.row is None else sheet.colour(point.row)
        face = sheet.PAPER if point.is_emulated else paint
        ax.plot([point.x] * 2, [point.low, point.high], color=paint, linewidth=3, alpha=0.45)
        ax.plot(point.x, point.value, "o", color=paint, markerfacecolor=face)
        place = xs[: line.points.index(point)].count(point.x) % len(_LABEL_OFFSETS)
        ax.annotate(
            point.label,
            (point.x, point.value),
            xytext=_LABEL_OFFSETS[place],
            textcoords="offset points",
            ha="center",
            color=paint,
            weight="bold",
        )
