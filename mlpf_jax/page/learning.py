"""Figures of loss and accuracy per epoch."""

import math
from collections.abc import Sequence

from matplotlib import axes, figure, lines, ticker

from mlpf_jax.compare import ratios
from mlpf_jax.page import sheet
from mlpf_jax.render import tables
from mlpf_jax.report import reader

MOST_ROWS = 8
_HEIGHT = 190.0
_LABEL_SPACE = 0.075  # minimum distance of labels, relative to the height of the axes
_MEASURES = (
    ("loss", "Loss", "loss"),
    ("accuracy", "Accuracy, padding counted", "accuracy"),
    ("real_accuracy", "Accuracy on real elements", "accuracy"),
)
_NOTES = {
    "loss": "Weighted sum of all outputs\u2019 losses.",
    "accuracy": "Share of elements with the correct class, including padding, as published in "
    "2022.",
    "real_accuracy": "As before, without padding: the more informative number.",
}


def plots(rows: Sequence[ratios.Row]) -> list[sheet.Plot]:
    """Returns a figure for each available measure, of the first `MOST_ROWS` rows that have it."""
    found = []
    for key, title, unit in _MEASURES:
        there = [
            (number, row)
            for number, row in enumerate(rows)
            if curve(row.group.first, f"val_{key}") or curve(row.group.first, f"train_{key}")
        ]
        if there:
            found.append(_curves(key, title, unit, there[:MOST_ROWS], len(there)))
    return found


def curve(report: reader.Report, name: str) -> list[float]:
    """Returns a value per epoch; empty if the run has none, or not all are numbers."""
    values = report.stats.get(name) or []
    sound = all(isinstance(v, int | float) and math.isfinite(v) for v in values)
    return [float(value) for value in values] if sound else []


def _curves(
    key: str, title: str, unit: str, there: Sequence[tuple[int, ratios.Row]], num_rows: int
) -> sheet.Plot:
    curves = [
        (number, row.label, curve(row.group.first, f"{kind}_{key}"), kind)
        for number, row in there
        for kind in ("train", "val")
    ]
    values = [value for _, _, found, _ in curves for value in found]
    log = key == "loss" and min(values) > 0 and max(values) / min(values) > 5

    def paint(picture: figure.Figure) -> None:
        ax = picture.subplots()
        for number, _, found, kind in curves:
            _draw(ax, number, found, kind)
        sheet.scale(ax, "y", log=log, span=max(values) / min(values) if log else 1.0)
        ax.xaxis.set_major_locator(ticker.MaxNLocator(integer=True))
        ax.set_xlabel("epoch")
        ax.set_ylabel(unit + (", logarithmic" if log else ""))
        _add_legend(picture)
        picture.draw_without_rendering()  # this makes the limits final
        _label_ends(ax, [(n, label, found) for n, label, found, kind in curves if kind == "val"])

    more = f" The first {len(there)} of {num_rows} rows." if num_rows > len(there) else ""
    return sheet.plot(
        f"learning-{key}",
        title,
        _NOTES[key] + more,
        "; ".join(
            f"{label} {'training' if kind == 'train' else 'validation'}: "
            f"{', '.join(tables.number(value) for value in found[-5:])}"
            for _, label, found, kind in curves
            if found
        ),
        paint,
        height=_HEIGHT,
    )


def _draw(ax: axes.Axes, number: int, values: Sequence[float], kind: str) -> None:
    """Draws one curve: validation solid with filled markers, training dashed and hollow."""
    is_training = kind == "train"
    ax.plot(
        range(1, len(values) + 1),
        values,
        color=sheet.colour(number),
        marker=sheet.marker(number),
        markerfacecolor=sheet.PAPER if is_training else sheet.colour(number),
        markersize=3.6,
        dashes=(3, 2) if is_training else (None, None),
    )


def _add_legend(picture: figure.Figure) -> None:
    handles = [
        lines.Line2D([], [], color=sheet.MUTED, label="validation"),
        lines.Line2D([], [], color=sheet.MUTED, dashes=(3, 2), label="training"),
    ]
    picture.legend(handles=handles, loc="outside upper right", ncols=2)


def _label_ends(ax: axes.Axes, ends: Sequence[tuple[int, str, Sequence[float]]]) -> None:
    """Writes each row's label to the right of its last value, without overlaps."""
    to_axes = ax.transData + ax.transAxes.inverted()
    wanted = sorted(
        (float(to_axes.transform((len(found), found[-1]))[1]), number, label)
        for number, label, found in ends
        if found
    )
    heights = apart([height for height, _, _ in wanted], _LABEL_SPACE)
    for height, (_, number, label) in zip(heights, wanted, strict=True):
        ax.text(
            1.015,
            height,
            label,
            transform=ax.transAxes,
            va="center",
            color=sheet.colour(number),
            fontweight="bold",
        )


def apart(heights: Sequence[float], space: float) -> list[float]:
    """Returns sorted heights at least `space` apart, with small shifts and none moved above 1.

    If there is not enough room, the lowest are below 0.
    """
    found = list(heights)
    for i in range(1, len(found)):
        found[i] = max(found[i], found[i - 1] + space)
    highest = max(1.0, *heights) if heights else 1.0
    for i in reversed(range(len(found))):
        found[i] = min(found[i], highest - (len(found) - 1 - i) * space)
    return found
