"""Panels of a sweep: each quantity by point, and energy against speed with the Pareto front."""

import dataclasses
import math
from collections.abc import Callable, Iterator, Sequence

from matplotlib import axes

from mlpf_jax.render import tables
from mlpf_jax.study import runs
from mlpf_jax.study import trade_offs as trade_offs_lib

Painter = Callable[[axes.Axes], None]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Colours:
    """Colours of the points on the front, of the others, and of the paper."""

    front: str
    other: str
    paper: str


@dataclasses.dataclass(frozen=True, kw_only=True)
class Panel:
    """A figure of one phase."""

    name: str
    title: str
    num_rows: int  # of text along its vertical axis; 0: it is a scatter plot
    description: str  # in words
    paint: Painter


def panels(
    rows: Sequence[trade_offs_lib.Row], colours: Colours, label: Callable[[str], str] = str
) -> Iterator[Panel]:
    """Yields the figures of all phases; `label` changes the texts of the points."""
    for phase in runs.PHASES:
        quantities = trade_offs_lib.known(rows, phase)
        for quantity in quantities:
            shown = [row for row in rows if row.value(phase, quantity)]
            yield Panel(
                name=f"{quantity.name.replace('_', '-')}-{phase}",
                title=f"{phase}: {quantity.title}",
                num_rows=len(shown),
                description=_description(shown, phase, quantity),
                paint=_points(shown, phase, quantity, colours, label),
            )
        if trade_offs_lib.EVENTS_PER_J in quantities:
            yield Panel(
                name=f"front-{phase}",
                title=f"{phase}: energy against speed",
                num_rows=0,
                description="the two quantities of all points, which have figures of their own",
                paint=_scatter(rows, phase, colours),
            )


def _points(
    shown: Sequence[trade_offs_lib.Row],
    phase: str,
    quantity: trade_offs_lib.Quantity,
    colours: Colours,
    label: Callable[[str], str],
) -> Painter:
    """Returns a painter of one point per row, with its interval."""

    def paint(panel: axes.Axes) -> None:
        for place, row in enumerate(shown):
            found = row.value(phase, quantity)
            assert found is not None
            colour = _draw(panel, found.value, place, row, phase, colours)
            if math.isfinite(found.low):
                ends = [found.low, found.high]
                panel.plot(ends, [place, place], color=colour, linewidth=1.0, zorder=1)
        texts = [f"{label(row.label)}  {row.number}" for row in shown]
        panel.set_yticks(range(len(shown)), texts)
        panel.set_ylim(len(shown) - 0.5, -0.5)
        panel.set_xlabel(quantity.unit)
        panel.set_xlim(left=min(0.0, panel.get_xlim()[0]))

    return paint


def _description(
    shown: Sequence[trade_offs_lib.Row], phase: str, quantity: trade_offs_lib.Quantity
) -> str:
    values = [
        f"{row.number}: {tables.number(found.value)}{' (front)' if phase in row.fronts else ''}"
        for row in shown
        if (found := row.value(phase, quantity))
    ]
    return ", ".join(values)


def _scatter(rows: Sequence[trade_offs_lib.Row], phase: str, colours: Colours) -> Painter:
    """Returns a painter of events per joule against events per second, with the front's edge."""

    def paint(panel: axes.Axes) -> None:
        front = []
        for row in rows:
            speed = row.value(phase, trade_offs_lib.EVENTS_PER_S)
            energy = row.value(phase, trade_offs_lib.EVENTS_PER_J)
            if speed is None or energy is None:
                continue
            place = speed.value, energy.value
            _draw(panel, *place, row, phase, colours)
            panel.annotate(
                str(row.number), place, xytext=(4, 4), textcoords="offset points", fontsize=7
            )
            front += [place] if phase in row.fronts else []
        front.sort()
        # Nothing was measured between two points of the front: the edge goes around them.
        xs, ys = [x for x, _ in front], [y for _, y in front]
        panel.step(xs, ys, where="pre", color=colours.front, linewidth=0.8, zorder=1)
        panel.set_xlabel(trade_offs_lib.EVENTS_PER_S.unit)
        panel.set_ylabel(trade_offs_lib.EVENTS_PER_J.unit)
        panel.margins(0.12)

    return paint


def _draw(
    panel: axes.Axes,
    x: float,
    y: float | int,
    row: trade_offs_lib.Row,
    phase: str,
    colours: Colours,
) -> str:
    """Draws a point, filled if it is on the front; returns its colour."""
    is_best = phase in row.fronts
    colour = colours.front if is_best else colours.other
    face = colour if is_best else colours.paper
    panel.plot(x, y, "o", color=colour, markerfacecolor=face, zorder=2)
    return colour
