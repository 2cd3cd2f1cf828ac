"""A scaling study as a picture, drawn by Matplotlib: the extra `report`.

Points are means over runs, bars their 95 % intervals, dashes what ideal devices would do, thin
lines the fitted laws. The same study always gives the same bytes.
"""

import io
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Literal

import matplotlib as mpl
from matplotlib import axes, figure, ticker

from mlpf_jax.stats import scaling_laws as law_lib
from mlpf_jax.study import findings as scaling

Format = Literal["svg", "png"]

# Of the palette of Okabe and Ito, which the colour-blind can tell apart.
_COLOURS = {"training": "#0072B2", "inference": "#D55E00"}
_GREY = "#767676"
_MARKERS = {"training": "o", "inference": "s"}
_BEYOND = 0.02  # of the axis of accuracies
_ASIDE = {"training": 0.98, "inference": 1.02}  # on a logarithmic axis, so that bars stay apart
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
_PNG_DPI = 120
_AXIS_LABELS = {"num_devices": "devices", "batch_size": "events per step on one device"}
_NAMES = {"weak": "weak scaling", "strong": "strong scaling", "batch": "batch size"}
_Estimates = Mapping[int, law_lib.Estimate]


def draw(findings: scaling.Findings, file_format: Format) -> bytes:
    """Returns the picture of a study."""
    with mpl.rc_context(_STYLE):
        panels = list(_panels(findings))
        num_rows = max(1, math.ceil(len(panels) / 2))
        size = (2 * _PANEL_INCHES[0], num_rows * _PANEL_INCHES[1] + 0.6)
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


def _title(findings: scaling.Findings) -> str:
    text = f"{findings.provenance['machine']}, {findings.repeats} runs per point"
    if any(series.is_emulated for series in findings.series):
        text += "\nemulated: virtual devices share one CPU; a test of the program, not of hardware"
    return text


def _panels(findings: scaling.Findings) -> Iterator[Callable[[axes.Axes], None]]:
    for series in findings.series:
        if series.study in ("weak", "strong"):
            yield lambda panel, series=series: _draw_speedup(panel, series)
            yield lambda panel, series=series: _draw_efficiency(panel, series)
        elif series.study == "batch":
            yield lambda panel, series=series: _draw_rates(panel, series)
    if findings.batch_rows:
        yield lambda panel: _draw_accuracy(
            panel,
            {row.global_batch_size: row.accuracy for row in findings.batch_rows},
            "accuracy by batch",
            "events per step on all devices",
        )
    for series in findings.series:
        if series.study == "data":
            yield lambda panel, series=series: _draw_accuracy(
                panel,
                {row.x: row.accuracy for row in series.rows if row.accuracy},
                "accuracy by data, updates equal",
                "training events",
            )


def _draw_speedup(panel: axes.Axes, series: scaling.Series) -> None:
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
    _finish(panel, f"{_NAMES[series.study]}: speed-up", series, xs)
    panel.yaxis.set_major_formatter(ticker.FormatStrFormatter("%g"))


def _draw_efficiency(panel: axes.Axes, series: scaling.Series) -> None:
    for phase in _COLOURS:
        found = {row.x: row.efficiencies[phase] for row in series.rows if phase in row.efficiencies}
        _draw_points(panel, found, phase, aside=_ASIDE[phase])
    panel.axhline(1, linestyle="--", color=_GREY, linewidth=0.9)
    panel.set_ylim(0, max(1.1, panel.get_ylim()[1]))
    panel.yaxis.set_major_formatter(ticker.PercentFormatter(1, decimals=0))
    _finish(panel, f"{_NAMES[series.study]}: efficiency", series, [row.x for row in series.rows])


def _draw_rates(panel: axes.Axes, series: scaling.Series) -> None:
    for phase in _COLOURS:
        found = {row.x: row.rates[phase] for row in series.rows if phase in row.rates}
        _draw_points(panel, found, phase, aside=_ASIDE[phase])
    panel.set_ylim(bottom=0)
    panel.set_ylabel("events/s")
    _finish(panel, f"{_NAMES[series.study]}: throughput", series, [row.x for row in series.rows])


def _draw_accuracy(panel: axes.Axes, found: _Estimates, title: str, label: str) -> None:
    panel.set_title(title)
    if not found:
        panel.text(0.5, 0.5, "no run", ha="center", transform=panel.transAxes, color=_GREY)
        panel.set_axis_off()
        return
    _draw_points(panel, found, "training", aside=1.0)
    bottom, top = panel.get_ylim()  # an interval may go on where no accuracy is
    panel.set_ylim(max(bottom, -_BEYOND), min(top, 1 + _BEYOND))
    _set_axis(panel, list(found), label)


def _draw_points(panel: axes.Axes, found: _Estimates, phase: str, *, aside: float) -> None:
    """Draws means with their intervals, a single run without."""
    if not found:  # what to draw failed, or was left out
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
    # Of equal values rounding may put an end a hair inside.
    return max(0.0, estimate.value - estimate.low), max(0.0, estimate.high - estimate.value)


def _finish(panel: axes.Axes, title: str, series: scaling.Series, xs: Sequence[int]) -> None:
    panel.set_title(title)
    _set_axis(panel, xs, _AXIS_LABELS[series.axis])
    if panel.get_legend_handles_labels()[1]:
        panel.legend(fontsize=8)


def _set_axis(panel: axes.Axes, xs: Sequence[int], label: str) -> None:
    panel.set_xscale("log", base=2)
    panel.set_xticks(xs, [str(x) for x in xs])
    panel.minorticks_off()
    panel.set_xlim(min(xs) / 1.15, max(xs) * 1.15)
    panel.set_xlabel(label)
