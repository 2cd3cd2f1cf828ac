"""Figures of throughput: every row with its interval and its ratio to the baseline."""

import math
from collections.abc import Sequence

import numpy as np
from matplotlib import axes, figure

from mlpf_jax.compare import comparability, ratio_tables
from mlpf_jax.compare import ratios as compare
from mlpf_jax.page import sheet
from mlpf_jax.render import tables
from mlpf_jax.stats import comparison

_ROW, _FRAME = 21.0, 44.0  # heights of a row and of the axis below, in points
_MOST_TICKS = 60
_FARTHEST_RATIO = 4.0  # beyond the outermost ratio, where unbounded intervals end


def plots(rows: Sequence[compare.Row]) -> list[sheet.Plot]:
    """Returns a figure of throughputs for each phase, and one of ratios if there are any."""
    found = []
    for name in comparability.PHASES:
        there = [row for row in rows if name in row.phases]
        if there:
            found.append(_rates(name, rows, there))
        if any(row.phases[name].ratio for row in there):
            found.append(_ratios(name, rows, [row for row in there if row.phases[name].ratio]))
    return found


def _rates(name: str, rows: Sequence[compare.Row], there: Sequence[compare.Row]) -> sheet.Plot:
    scores = [row.phases[name].throughput for row in there]
    ends = [end for score in scores for end in (score.min, score.max)]
    log = sheet.is_wide(ends)

    def paint(picture: figure.Figure) -> None:
        ax = picture.subplots()
        sheet.scale(ax, "x", log=log, span=max(ends) / min(ends))
        for place, (row, score) in enumerate(zip(there, scores, strict=True)):
            number = rows.index(row)
            ticks = _thinned([rate for r in row.group.reports for rate in r.phases[name].rates])
            paint = sheet.colour(number)
            _ticks(ax, place, ticks, paint)
            if score.has_interval:
                _interval(ax, place, score.interval_low, score.interval_high, paint)
            _point(ax, place, score.median, number, is_hollow=row.group.first.is_emulated)
            sheet.beside(ax, place, tables.number(score.median))
        sheet.rows_down(ax, _labels(rows, there))
        ax.set_xlabel("events/s" + (", logarithmic" if log else ""))

    return sheet.plot(
        f"throughput-{name}",
        f"Throughput of {name}",
        "Point: the median over the steady state, with its value on the right. Bar: its 95 % "
        f"interval, if the samples are enough. Ticks: single samples, {_MOST_TICKS} at most. "
        "Hollow points are for emulated devices. Further right is faster; the axis need not begin "
        "at 0.",
        _told(
            [
                f"{row.label} {tables.number(score.median)} events/s, 95 % interval "
                f"{ratio_tables.interval(score)}"
                for row, score in zip(there, scores, strict=True)
            ]
        ),
        paint,
        height=_FRAME + _ROW * max(len(there), 2),
    )


def _ratios(name: str, rows: Sequence[compare.Row], there: Sequence[compare.Row]) -> sheet.Plot:
    least, most = _ratio_limits([r for row in there if (r := row.phases[name].ratio)])

    def paint(picture: figure.Figure) -> None:
        ax = picture.subplots()
        sheet.scale(ax, "x", log=True, span=most / least)
        ax.set_xlim(least, most)
        ax.axvline(1.0, color=sheet.INK, linewidth=0.8)
        for place, row in enumerate(there):
            ratio, number = row.phases[name].ratio, rows.index(row)
            if ratio is None:
                continue
            ends = max(ratio.low, least), min(ratio.high, most)
            _interval(ax, place, *ends, sheet.colour(number))
            _point(ax, place, ratio.value, number, is_hollow=row.group.first.is_emulated)
            sheet.beside(ax, place, f"{tables.number(ratio.value, 3)}  {row.phases[name].verdict}")
        sheet.rows_down(ax, _labels(rows, there))
        ax.set_xlabel(f"throughput / that of {rows[0].label}, logarithmic")

    return sheet.plot(
        f"ratio-{name}",
        f"Ratio to {rows[0].label} in {name}",
        f"Right of the line at 1 is faster than {rows[0].label}. Bar: 95 % interval; it is cut at "
        "the edge. If it touches the line, the verdict is \u201ccannot tell\u201d. Rows without "
        "a ratio are not shown.",
        _told(
            [
                f"{row.label} {tables.number(ratio.value)}, 95 % interval "
                f"{tables.interval(ratio.low, ratio.high, 3)}, {row.phases[name].verdict}"
                for row in there
                if (ratio := row.phases[name].ratio)
            ]
        ),
        paint,
        height=_FRAME + _ROW * max(len(there), 2),
    )


def _ratio_limits(ratios: Sequence[comparison.Ratio]) -> tuple[float, float]:
    """Returns the limits of an axis with 1, all ratios, and their intervals if not too far away."""
    middles = [ratio.value for ratio in ratios]
    ends = [end for r in ratios for end in (r.low, r.high) if 0 < end < math.inf]
    least = max(min([*middles, *ends, 0.95]), min(middles) / _FARTHEST_RATIO)
    most = min(max([*middles, *ends, 1.05]), max([*middles, 1.0]) * _FARTHEST_RATIO)
    return least / 1.05, most * 1.05


def _labels(rows: Sequence[compare.Row], there: Sequence[compare.Row]) -> list[tuple[str, str]]:
    return [(row.label, sheet.colour(rows.index(row))) for row in there]


def _interval(ax: axes.Axes, place: int, low: float, high: float, paint: str) -> None:
    ax.plot([low, high], [place] * 2, color=paint, linewidth=3.2, solid_capstyle="butt")


def _ticks(ax: axes.Axes, place: int, values: Sequence[float], paint: str) -> None:
    """Draws ticks as one line with gaps, because markers would make the page large."""
    xs = np.repeat(np.asarray(values, np.float64), 3)
    ys = np.tile([place - 0.2, place + 0.2, math.nan], len(values))
    ax.plot(xs, ys, color=paint, alpha=0.35, linewidth=0.9)


def _point(ax: axes.Axes, place: int, value: float, number: int, *, is_hollow: bool) -> None:
    paint = sheet.colour(number)
    face = sheet.PAPER if is_hollow else paint
    ax.plot(value, place, sheet.marker(number), color=paint, markerfacecolor=face, markersize=6)


def _thinned(values: Sequence[float]) -> list[float]:
    """Returns as many sorted values as can be distinguished, including the first and last."""
    ordered = np.sort(np.asarray(values, np.float64))
    places = np.linspace(0, ordered.size - 1, min(ordered.size, _MOST_TICKS))
    return ordered[np.round(places).astype(np.int64)].tolist()


def _told(parts: Sequence[str]) -> str:
    return "; ".join(parts) + "."
