"""The findings of a study of growth as a picture, drawn by Matplotlib."""

import io
from collections.abc import Sequence

import matplotlib as mpl
import numpy as np
from matplotlib import axes, figure, ticker

from benchmarks.growth import study

# Of the palette of Okabe and Ito, which the colour-blind can tell apart.
_COLOURS = {"training": "#0072B2", "inference": "#D55E00"}
_MARKERS = {"training": "o", "inference": "s"}
_UNITS = {
    study.COSTS[0]: ("seconds per event", 1.0),
    study.COSTS[1]: ("seconds to lower and compile", 1.0),
    study.COSTS[2]: ("planned MB per event", 1e-6),
}
_CLOSEST_LABELS = 1.3  # sizes nearer to each other than by this factor share a label's place
_STYLE = {
    "font.size": 9.0,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#E4E4E4",
    "legend.frameon": False,
    "svg.hashsalt": "mlpf_jax growth",
    "svg.fonttype": "path",
}


def draw(findings: study.Findings, title: str) -> bytes:
    """Returns an SVG: a panel for each cost, points for runs, lines for the laws."""
    with mpl.rc_context(_STYLE):
        page = figure.Figure(figsize=(11.5, 3.6), layout="constrained")
        page.suptitle(title, x=0.01, ha="left", fontsize=10, parse_math=False)
        for panel, name in zip(page.subplots(1, len(study.COSTS)), study.COSTS, strict=True):
            _draw_panel(panel, findings, name)
        buffer = io.BytesIO()
        page.savefig(buffer, format="svg", metadata={"Date": None})
    return buffer.getvalue()


def _draw_panel(panel: axes.Axes, findings: study.Findings, name: str) -> None:
    unit, scale = _UNITS[name]
    drawn: list[float] = []
    for phase, colour in _COLOURS.items():
        points = [
            (value, scale * cost)
            for value, costs in findings.costs(name, phase).items()
            for cost in costs
        ]
        if not points:
            continue
        drawn += [cost for _, cost in points]
        panel.plot(*zip(*points, strict=True), _MARKERS[phase], color=colour, markersize=5)
        law = findings.laws.get(name, {}).get(phase)
        label = phase
        if law is not None:
            xs = np.geomspace(min(findings.values), max(findings.values), 50)
            panel.plot(xs, [scale * law.cost(x) for x in xs], color=colour, linewidth=0.8)
            label = f"{phase}: exponent {law.exponent:.2f} ({law.low:.2f} to {law.high:.2f})"
        panel.plot([], [], _MARKERS[phase], color=colour, label=label)
    _widen(panel, drawn)  # first: the limits of a flat cost would coincide
    panel.set_xscale("log", base=2)
    panel.set_yscale("log")
    panel.yaxis.set_major_locator(ticker.LogLocator(subs=(1.0, 2.0, 5.0), numticks=12))
    panel.yaxis.set_major_formatter(ticker.FormatStrFormatter("%g"))
    panel.set_xticks(findings.values, _labels(findings.values))
    panel.minorticks_off()
    panel.set_xlabel(findings.label)
    panel.set_ylabel(unit)
    panel.set_title(name, loc="left", fontweight="bold", fontsize=9)
    panel.legend(fontsize=7.5, loc="upper left")


def _widen(panel: axes.Axes, drawn: Sequence[float]) -> None:
    """Leaves room for the legend, and gives a flat cost an axis that shows that it is flat."""
    low, high = min(drawn), max(drawn)
    middle = (low * high) ** 0.5
    panel.set_ylim(
        min(low / 1.3, middle / 3), max(high * 2.2, high * (high / low) ** 0.35, middle * 3)
    )


def _labels(values: Sequence[int]) -> list[str]:
    """Returns what stands below the sizes: nothing where it would run into the one before."""
    labels, last = [], 0.0
    for value in values:
        fits = value >= _CLOSEST_LABELS * last
        labels.append(str(value) if fits else "")
        last = value if fits else last
    return labels
