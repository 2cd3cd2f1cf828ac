"""A sheet to draw on with Matplotlib; what comes out fits a page, in light and in dark.

Colours are names of the page's palette: painted as colours that nothing else has, they are
replaced by CSS variables. No text from a file belongs on a sheet: rows are told apart by the
labels that the comparison gave them, A, B and so on, and the page says what they stand for.
"""

import dataclasses
import io
import math
from collections.abc import Callable, Iterable, Sequence

import matplotlib as mpl
from matplotlib import axes, axis, figure, ticker

from mlpf_jax.page import svg

WIDTH = 310.0  # points, of every sheet: readable on a phone, two beside each other on a desk
SMALL = 7.8  # points of text that is beside the point
NUM_COLOURS = 7
_NAMES = ("ink", "muted", "grid", "paper", "shade", "part-1", "part-2", "part-3", "part-4")
_SERIES = tuple(f"series-{number}" for number in range(1, NUM_COLOURS + 1))
_COLOURS = {name: f"#5e51{number:02x}" for number, name in enumerate((*_NAMES, *_SERIES))}
INK, MUTED, GRID, PAPER, SHADE = (_COLOURS[name] for name in _NAMES[:5])
PARTS = tuple(_COLOURS[name] for name in _NAMES[5:])
_MARKERS = "osD^vPX"
_LOG_FROM = 30.0  # times as large as the smallest is the largest
_FEW_DECADES = 3.0
_NARROW = 4.0  # so little is as good as linear
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
    """A figure of the page."""

    name: str  # its id on the page
    title: str
    caption: str  # what is to be seen, and how to read it
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
    """Returns a figure that `painter` drew on a sheet of `height` points.

    `values` tells in words what is drawn, for readers who hear the page. The same drawing makes
    the same bytes, whatever Matplotlib's settings are.
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
    """Returns the colour of a row of the comparison; they repeat."""
    return _COLOURS[_SERIES[row % NUM_COLOURS]]


def marker(row: int) -> str:
    """Returns the marker of a row: another one when the colours repeat."""
    return _MARKERS[row // NUM_COLOURS % len(_MARKERS)]


def is_wide(values: Iterable[float]) -> bool:
    """Whether positive values differ so much that only a logarithmic axis shows them all."""
    found = [value for value in values if value > 0]
    return bool(found) and max(found) / min(found) > _LOG_FROM


def scale(ax: axes.Axes, name: str, *, log: bool, span: float = math.inf) -> None:
    """Sets an axis, `x` or `y`, to be linear or logarithmic, with plain numbers on it.

    `span` is the ratio of its ends: over few decades a logarithmic axis has more ticks.
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
    """Returns a number without a power of ten, its thousands apart."""
    if value and not 1e-4 <= abs(value) < 1e9:
        return f"{value:.3g}"
    return f"{value:,.7g}".replace(",", "\u2009").replace("-", "\u2212")


def rows_down(ax: axes.Axes, labels: Sequence[tuple[str, str]]) -> None:
    """Makes the y axis one of rows, the first on top, each labelled in its colour."""
    ax.set_yticks(range(len(labels)), [text for text, _ in labels])
    ax.set_ylim(len(labels) - 0.5, -0.5)
    ax.spines["left"].set_visible(False)
    ax.grid(visible=False, axis="y")
    for tick, (_, paint) in zip(ax.get_yticklabels(), labels, strict=True):
        tick.set_color(paint)
        tick.set_fontweight("bold")


def beside(ax: axes.Axes, row: int, text: str) -> None:
    """Writes text at the right of a row."""
    place = ax.get_yaxis_transform()
    ax.text(1.02, row, text, transform=place, va="center", color=INK)
