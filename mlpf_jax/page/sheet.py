"""Sheets for Matplotlib drawings that fit the page in light and in dark mode.

Colours are names of the page's palette. They are drawn as unique colours, which are then replaced
by CSS variables. Sheets contain no text from files: rows have the labels of the comparison, A, B
and so on, which the page explains.
"""

import dataclasses
import io
import math
from collections.abc import Callable, Iterable, Sequence

import matplotlib as mpl
from matplotlib import axes, axis, figure, ticker

from mlpf_jax.page import svg

WIDTH = 310.0  # points: readable on a phone, and two sheets fit side by side on a desktop
SMALL = 7.8  # points, for secondary text
NUM_COLOURS = 7
_NAMES = ("ink", "muted", "grid", "paper", "shade", "part-1", "part-2", "part-3", "part-4")
_SERIES = tuple(f"series-{number}" for number in range(1, NUM_COLOURS + 1))
_COLOURS = {name: f"#5e51{number:02x}" for number, name in enumerate((*_NAMES, *_SERIES))}
INK, MUTED, GRID, PAPER, SHADE = (_COLOURS[name] for name in _NAMES[:5])
PARTS = tuple(_COLOURS[name] for name in _NAMES[5:])
_MARKERS = "osD^vPX"
_LOG_FROM = 30.0  # ratio of largest to smallest value from which an axis is logarithmic
_FEW_DECADES = 3.0
_NARROW = 4.0  # below this span, logarithmic is nearly linear
_STYLE = {
    "svg.fonttype": "none",
    "text.parse_math": False,
    "font.size": 8.5,
    "text.color": INK,
    "axes.edgecolor": MUTED,
    "axes.labelcolor": MUTED,
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.facecolor": "none",
    "figure.facecolor": "none",
    "grid.color": GRID,
    "grid.linewidth": 0.6,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.major.size": 0.0,
    "ytick.major.size": 0.0,
    "xtick.minor.size": 0.0,
    "ytick.minor.size": 0.0,
    "lines.linewidth": 1.3,
    "lines.markersize": 4.5,
    "legend.frameon": False,
    "legend.fontsize": SMALL,
    "figure.constrained_layout.w_pad": 0.03,
    "figure.constrained_layout.h_pad": 0.04,
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Plot:
    """A figure on the page."""

    name: str  # its id on the page
    title: str
    caption: str  # what the figure shows, and how to read it
    svg: str


def plot(
    name: str,
    title: str,
    caption: str,
    values: str,
    painter: Callable[[figure.Figure], None],
    *,
    height: float,
) -> Plot:
    """Returns a figure drawn by `painter` on a sheet of `height` points.

    `values` describes the figure in words, for screen readers. The same drawing gives the same
    bytes, whatever Matplotlib's settings are.
    """
    with mpl.rc_context():
        mpl.rcdefaults()
        mpl.rcParams.update(_STYLE | {"svg.hashsalt": name})
        picture = figure.Figure(figsize=(WIDTH / 72, height / 72), layout="constrained")
        painter(picture)
        text = io.StringIO()
        none = dict.fromkeys(("Creator", "Date", "Format", "Type"))
        picture.savefig(text, format="svg", metadata=none)
    variables = {colour: name for name, colour in _COLOURS.items()}
    inlined = svg.inline(
        text.getvalue(), name=name, title=title, description=values, variables=variables
    )
    return Plot(name=name, title=title, caption=caption, svg=inlined)


def colour(row: int) -> str:
    """Returns the colour of a row of the comparison; colours repeat."""
    return _COLOURS[_SERIES[row % NUM_COLOURS]]


def marker(row: int) -> str:
    """Returns the marker of a row, which changes when the colours repeat."""
    return _MARKERS[row // NUM_COLOURS % len(_MARKERS)]


def is_wide(values: Iterable[float]) -> bool:
    """Whether positive values differ so much that they need a logarithmic axis."""
    found = [value for value in values if value > 0]
    return bool(found) and max(found) / min(found) > _LOG_FROM


def scale(ax: axes.Axes, name: str, *, log: bool, span: float = math.inf) -> None:
    """Makes an axis, `x` or `y`, linear or logarithmic, with plain numbers as labels.

    `span` is the ratio of its ends; a logarithmic axis over few decades gets more ticks.
    """
    chosen: axis.Axis = ax.xaxis if name == "x" else ax.yaxis
    if log:
        (ax.set_xscale if name == "x" else ax.set_yscale)("log")
        steps = (1.0, 2.0, 5.0) if span < 10**_FEW_DECADES else (1.0,)
        few = ticker.MaxNLocator(nbins=6, steps=[1, 2, 5, 10])
        many = ticker.LogLocator(subs=steps, numticks=8)
        chosen.set_major_locator(few if span < _NARROW else many)
        chosen.set_minor_formatter(ticker.NullFormatter())
    chosen.set_major_formatter(ticker.FuncFormatter(lambda value, _: plain(value)))


def plain(value: float | int) -> str:
    """Formats a number without an exponent, with separated thousands."""
    if value and not 1e-4 <= abs(value) < 1e9:
        return f"{value:.3g}"
    return f"{value:,.7g}".replace(",", "\u2009").replace("-", "\u2212")


def rows_down(ax: axes.Axes, labels: Sequence[tuple[str, str]]) -> None:
    """Makes the y axis an axis of rows, with the first on top and labels in the rows' colours."""
    ax.set_yticks(range(len(labels)), [text for text, _ in labels])
    ax.set_ylim(len(labels) - 0.5, -0.5)
    ax.spines["left"].set_visible(False)
    ax.grid(visible=False, axis="y")
    for tick, (_, paint) in zip(ax.get_yticklabels(), labels, strict=True):
        tick.set_color(paint)
        tick.set_fontweight("bold")


def beside(ax: axes.Axes, row: int, text: str) -> None:
    """Writes text to the right of a row."""
    place = ax.get_yaxis_transform()
    ax.text(1.02, row, text, transform=place, va="center", color=INK)
