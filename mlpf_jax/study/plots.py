"""Draws a study with Matplotlib. Needs the extra `report`.

Points are means over runs with their 95 % intervals, or single runs if power laws are fitted.
Dashed lines show ideal scaling, thin lines the fitted laws. The same study always gives the same
bytes.
"""

import functools
import io
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Literal

import matplotlib as mpl
import numpy as np
from matplotlib import axes, figure, ticker

from mlpf_jax.render import tables
from mlpf_jax.stats import scaling_laws as law_lib
from mlpf_jax.study import findings as findings_lib
from mlpf_jax.study import trade_off_plots

Format = Literal["svg", "png"]

# From the colour-blind-safe palette of Okabe and Ito.
_COLOURS = {"training": "#0072B2", "inference": "#D55E00"}
_GREY = "#767676"
_SWEEP = trade_off_plots.Colours(front=_COLOURS["inference"], other=_GREY, paper="white")
_MARKERS = {"training": "o", "inference": "s"}
_ASIDE = {"training": 0.98, "inference": 1.02}  # factors that separate the bars
_STYLE = {
    "font.size": 9.0,
    "axes.titlesize": 10.0,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#E4E4E4",
    "grid.linewidth": 0.6,
    "legend.frameon": False,
    "lines.linewidth": 1.2,
    "lines.markersize": 5.0,
    "svg.hashsalt": "mlpf_jax scaling study",
    "svg.fonttype": "path",
}
_PANEL_INCHES = (4.6, 3.2)
_ROW_INCHES = 0.17  # of a sweep
_PNG_DPI = 120
_COST_UNITS = {
    findings_lib.COSTS[0]: ("seconds per event", 1.0),
    findings_lib.COSTS[1]: ("seconds to lower and compile", 1.0),
    findings_lib.COSTS[2]: ("planned MB per event", 1e-6),
}
_CLOSEST_LABELS = 1.3  # sizes closer than this factor share a label
_Estimates = Mapping[int, law_lib.Estimate]


def draw(findings: findings_lib.Findings, file_format: Format) -> bytes:
    """Returns the figure of a study."""
    with mpl.rc_context(_STYLE):
        panels = list(_panels(findings))
        num_rows = max(1, math.ceil(len(panels) / 2))
        width, height = _PANEL_INCHES
        height = max(height, 1 + _ROW_INCHES * len(findings.trade_offs))
        size = (2 * width, num_rows * height + 0.6)
        page = figure.Figure(figsize=size, layout="constrained")
        page.suptitle(_title(findings), x=0.01, ha="left", fontsize=10, parse_math=False)
        grid = list(page.subplots(num_rows, 2, squeeze=False).flat)
        for place, draw_panel in zip(grid, panels, strict=False):
            draw_panel(place)
        for place in grid[len(panels) :]:
            place.set_axis_off()
        metadata = {"Date": None} if file_format == "svg" else {"Software": None}
        buffer = io.BytesIO()
        page.savefig(buffer, format=file_format, dpi=_PNG_DPI, metadata=metadata)
    return buffer.getvalue()


def _title(findings: findings_lib.Findings) -> str:
    runs = tables.count(findings.repeats, "run")
    text = f"{findings.provenance['machine']}, {runs} per point"
    if findings.trade_offs:
        text += "\nfilled: on the Pareto front"
    if findings.is_emulated:
        text += "\nemulated: virtual devices share one CPU; a test of the program, not of hardware"
    return text


def _panels(findings: findings_lib.Findings) -> Iterator[Callable[[axes.Axes], None]]:
    for series in findings.series:
        for draw_panel in _panels_of(series):
            yield functools.partial(draw_panel, series=series)
    if findings.batch_rows:
        yield lambda panel: _draw_accuracy(
            panel,
            {row.global_batch_size: row.accuracy for row in findings.batch_rows},
            "accuracy by batch",
            "events per step on all devices",
        )
    for found in trade_off_plots.panels(findings.trade_offs, _SWEEP):
        yield functools.partial(_draw_sweep, found=found)


def _draw_sweep(panel: axes.Axes, found: trade_off_plots.Panel) -> None:
    panel.set_title(found.title)
    found.paint(panel)


def _panels_of(series: findings_lib.Series) -> list[Callable[..., None]]:
    if series.kind.law:
        return [_draw_speedup, _draw_efficiency]
    if series.kind.has_powers:
        return [functools.partial(_draw_cost, cost=cost) for cost in findings_lib.COSTS]
    return [_draw_data] if series.kind.name == "data" else [_draw_rates]


def _draw_data(panel: axes.Axes, series: findings_lib.Series) -> None:
    found = {row.x: row.accuracy for row in series.rows if row.accuracy}
    _draw_accuracy(panel, found, "accuracy by data, updates equal", series.kind.label)


def _draw_speedup(panel: axes.Axes, series: findings_lib.Series) -> None:
    xs = [row.x for row in series.rows]
    law_xs = list(range(1, max(xs) + 1))
    for phase, colour in _COLOURS.items():
        found = {row.x: row.ratios[phase] for row in series.rows if phase in row.ratios}
        _draw_points(panel, found, phase, aside=_ASIDE[phase])
        fit = series.fits.get(phase)
        if fit is not None:
            law = [law_lib.speedup(fit.law, fit.value, x) for x in law_xs]
            label = f"{fit.law}: {100 * fit.value:.3g} % serial"
            panel.plot(law_xs, law, color=colour, linewidth=0.7, label=label)
    reference = series.reference or 1
    ideal = [x for x in xs if x >= reference]
    heights = [x / reference for x in ideal]
    panel.plot(ideal, heights, "--", color=_GREY, linewidth=0.9, label="ideal")
    panel.set_yscale("log", base=2)
    _finish(panel, f"{series.kind.title}: speed-up", series, xs)
    panel.yaxis.set_major_formatter(ticker.FormatStrFormatter("%g"))


def _draw_efficiency(panel: axes.Axes, series: findings_lib.Series) -> None:
    for phase in _COLOURS:
        found = {row.x: row.efficiencies[phase] for row in series.rows if phase in row.efficiencies}
        _draw_points(panel, found, phase, aside=_ASIDE[phase])
    panel.axhline(1, linestyle="--", color=_GREY, linewidth=0.9)
    panel.set_ylim(0, max(1.1, panel.get_ylim()[1]))
    panel.yaxis.set_major_formatter(ticker.PercentFormatter(1, decimals=0))
    _finish(panel, f"{series.kind.title}: efficiency", series, [row.x for row in series.rows])


def _draw_rates(panel: axes.Axes, series: findings_lib.Series) -> None:
    for phase in _COLOURS:
        found = {row.x: row.rates[phase] for row in series.rows if phase in row.rates}
        _draw_points(panel, found, phase, aside=_ASIDE[phase])
    panel.set_ylim(bottom=0)
    panel.set_ylabel("events/s")
    _finish(panel, f"{series.kind.title}: throughput", series, [row.x for row in series.rows])


def _draw_cost(panel: axes.Axes, series: findings_lib.Series, cost: str) -> None:
    unit, scale = _COST_UNITS[cost]
    drawn: list[float] = []
    for phase, colour in _COLOURS.items():
        found = series.costs(cost, phase)
        points = [(x, scale * value) for x, values in found.items() for value in values]
        if not points:
            continue
        drawn += [value for _, value in points]
        law = series.powers.get(cost, {}).get(phase)
        label = phase
        if law is not None:
            xs = np.geomspace(min(found), max(found), 50)
            panel.plot(xs, [scale * law.cost(x) for x in xs], color=colour, linewidth=0.8)
            label = f"{phase}: exponent {law.exponent:.2f} ({law.low:.2f} to {law.high:.2f})"
        panel.plot(*zip(*points, strict=True), _MARKERS[phase], color=colour, label=label)
    panel.set_ylabel(unit)
    if drawn:
        _widen(panel, min(drawn), max(drawn))  # first: limits of flat costs coincide
    panel.set_yscale("log")
    panel.yaxis.set_major_locator(ticker.LogLocator(subs=(1.0, 2.0, 5.0), numticks=12))
    panel.yaxis.set_major_formatter(ticker.FormatStrFormatter("%g"))
    _finish(panel, cost, series, [row.x for row in series.rows])


def _widen(panel: axes.Axes, low: float, high: float) -> None:
    """Leaves room for the legend, and gives flat costs a wide enough axis."""
    middle = (low * high) ** 0.5
    top = max(high * 2.2, high * (high / low) ** 0.35, middle * 3)
    panel.set_ylim(min(low / 1.3, middle / 3), top)


def _draw_accuracy(panel: axes.Axes, found: _Estimates, title: str, label: str) -> None:
    panel.set_title(title)
    if not found:
        panel.text(0.5, 0.5, "no run", ha="center", transform=panel.transAxes, color=_GREY)
        panel.set_axis_off()
        return
    _draw_points(panel, found, "training", aside=1.0)
    _set_axis(panel, list(found), label)


def _draw_points(panel: axes.Axes, found: _Estimates, phase: str, *, aside: float) -> None:
    """Draws means with their intervals; single runs have none."""
    if not found:  # the runs to draw failed, or were skipped
        return
    errors = [_reach(estimate) for estimate in found.values()]
    panel.errorbar(
        [aside * x for x in found],
        [estimate.value for estimate in found.values()],
        [[low for low, _ in errors], [high for _, high in errors]],
        fmt=_MARKERS[phase],
        color=_COLOURS[phase],
        capsize=3,
        label=phase,
    )


def _reach(estimate: law_lib.Estimate) -> tuple[float, float]:
    if math.isinf(estimate.high):
        return 0.0, 0.0
    # With equal values, rounding can place an end slightly inside.
    return max(0.0, estimate.value - estimate.low), max(0.0, estimate.high - estimate.value)


def _finish(panel: axes.Axes, title: str, series: findings_lib.Series, xs: Sequence[int]) -> None:
    panel.set_title(title)
    _set_axis(panel, xs, series.kind.label)
    if panel.get_legend_handles_labels()[1]:
        panel.legend(fontsize=8)


def _set_axis(panel: axes.Axes, xs: Sequence[int], label: str) -> None:
    panel.set_xscale("log", base=2)
    panel.set_xticks(xs, _tick_labels(xs))
    panel.minorticks_off()
    panel.set_xlim(min(xs) / 1.15, max(xs) * 1.15)
    panel.set_xlabel(label)


def _tick_labels(xs: Sequence[int]) -> list[str]:
    """Returns the tick labels of the sizes; labels that would overlap are empty."""
    labels, last = [], 0.0
    for x in xs:
        fits = x >= _CLOSEST_LABELS * last
        labels.append(str(x) if fits else "")
        last = x if fits else last
    return labels
