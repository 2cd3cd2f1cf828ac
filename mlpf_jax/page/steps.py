"""Figures of single samples: step times in order, and their histogram."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float
from matplotlib import axes, figure, ticker

from mlpf_jax.compare import ratio_tables, ratios
from mlpf_jax.measure import records
from mlpf_jax.page import envelope, sheet
from mlpf_jax.render import tables
from mlpf_jax.report import reader
from mlpf_jax.stats import summaries

_HEIGHT = 150.0
_MOST_RUNS = 4
_FEWEST_FOR_BINS = 12
_MOST_BINS = 30
_FEW = 60  # up to this many samples are drawn as points
_FAR = 6.0  # in spreads of the steady state; values above would flatten the rest
_UNITS = ((1.0, "s"), (1e-3, "ms"), (1e-6, "\u00b5s"))


def plots(rows: Sequence[ratios.Row]) -> list[list[sheet.Plot]]:
    """Returns the figures of each row, one per phase."""
    return [[_trace(number, row, name) for name in row.phases] for number, row in enumerate(rows)]


def _trace(number: int, row: ratios.Row, name: str) -> sheet.Plot:
    phases = [report.phases[name] for report in row.group.reports[:_MOST_RUNS]]
    steady = np.concatenate([step_s(phase.steady_samples) for phase in phases])
    summary = summaries.summarize(steady.tolist())
    unit, word = next((u for u in _UNITS if summary.median >= u[0]), _UNITS[-1])
    top = _top(np.concatenate([step_s(phase.samples) for phase in phases]), summary)

    def paint(picture: figure.Figure) -> None:
        trace, bins = picture.subplots(1, 2, sharey=True, width_ratios=[5.0, 1.0])
        for first, last in _unsteady(phases):
            trace.axvspan(first - 0.5, last + 0.5, color=sheet.SHADE, linewidth=0)
        for place, phase in enumerate(reversed(phases)):
            weight = 1.0 if place == len(phases) - 1 else 0.45
            _draw_run(trace, step_s(phase.samples) / unit, sheet.colour(number), top / unit, weight)
        trace.axhline(summary.median / unit, color=sheet.INK, linewidth=0.8, dashes=(4, 3))
        _draw_bins(bins, steady[steady <= top] / unit, sheet.colour(number))
        low = min(float(step_s(phase.samples).min()) for phase in phases)
        edge = 0.06 * (top - low or top)  # all samples may take the same time
        trace.set_ylim((low - edge) / unit, (top + edge) / unit)
        sheet.scale(trace, "y", log=False)
        trace.set_ylabel(f"{word} per step")
        trace.xaxis.set_major_locator(ticker.MaxNLocator(integer=True))
        trace.set_xlabel("sample")

    return sheet.plot(
        f"steps-{row.label}-{name}",
        f"{row.label}: time of a step of {name}",
        _caption(row, phases, top),
        f"{row.label}, {name}: median {tables.number(summary.median)} s per step, 95 % interval "
        f"{ratio_tables.interval(summary)}, {tables.count(summary.count, 'steady sample')}, "
        f"{sum(phase.num_unsteady for phase in phases)} before the steady state.",
        paint,
        height=_HEIGHT,
    )


def step_s(samples: Sequence[records.Sample]) -> Float[np.ndarray, "samples"]:
    """Returns the seconds per step of every sample."""
    return np.array([sample.seconds / sample.num_steps for sample in samples], np.float64)


def _unsteady(phases: Sequence[reader.Phase]) -> list[tuple[int, int]]:
    """Returns the first and last number of every stretch of samples before a steady state.

    Each segment of a resumed run has such a stretch.
    """
    is_early = np.zeros(max(len(phase.samples) for phase in phases) + 2, np.int64)
    for phase in phases:
        is_early[1 : len(phase.samples) + 1] |= phase.unsteady
    begins, ends = (np.flatnonzero(np.diff(is_early) == change) for change in (1, -1))
    return list(zip((begins + 1).tolist(), ends.tolist(), strict=True))


def _top(values: Float[np.ndarray, "samples"], steady: summaries.Summary) -> float:
    """Returns the end of the axis: above all values, or below outliers that flatten the rest."""
    far = steady.median + max(_FAR * steady.spread, 0.25 * steady.median)
    return min(float(values.max()), far)


def _draw_run(
    ax: axes.Axes, values: Float[np.ndarray, "samples"], paint: str, top: float, weight: float
) -> None:
    found = envelope.envelope(values)
    places = found.place + 1
    if found.is_condensed:
        ax.fill_between(
            places, found.low, np.minimum(found.high, top), color=paint, alpha=0.3, linewidth=0
        )
    marks = "o-" if values.size <= _FEW else "-"
    inside = np.where(found.median <= top, found.median, np.nan)
    ax.plot(places, inside, marks, color=paint, alpha=weight, markersize=2.6, linewidth=1.0)
    beyond = places[found.high > top]
    ax.plot(beyond, np.full(beyond.size, top), "^", color=paint, alpha=weight, markersize=4)


def _draw_bins(ax: axes.Axes, values: Float[np.ndarray, "samples"], paint: str) -> None:
    """Draws a histogram; few values are drawn individually."""
    if values.size < _FEWEST_FOR_BINS or np.ptp(values) == 0:
        ax.plot(np.zeros(values.size), values, "_", color=paint, markersize=14)
        ax.set_xlim(-1, 1)
    else:
        edges = np.histogram_bin_edges(values, "auto")
        edges = edges if edges.size <= _MOST_BINS else np.linspace(*_ends(values), _MOST_BINS + 1)
        ax.hist(values, bins=edges.tolist(), orientation="horizontal", color=paint, alpha=0.75)
    ax.set_xticks([])
    ax.spines["bottom"].set_visible(False)


def _ends(values: Float[np.ndarray, "samples"]) -> tuple[float, float]:
    return float(values.min()), float(values.max())


def _caption(row: ratios.Row, phases: Sequence[reader.Phase], top: float) -> str:
    parts = [
        "Dashed: the median of the steady state. Right: histogram of the times. The axis need "
        "not begin at 0."
    ]
    if any(phase.num_unsteady for phase in phases):
        parts.append("Shaded: before the steady state, excluded from the score.")
    if max(len(phase.samples) for phase in phases) > 2 * envelope.MOST_POINTS:
        parts.append(
            f"The line is the median, the band all values, of {envelope.MOST_POINTS} stretches."
        )
    times = np.concatenate([step_s(phase.samples) for phase in phases])
    if num_beyond := int(np.count_nonzero(times > top)):
        slowest = tables.number(float(times.max()), 3)
        parts.append(f"\u25b2 {num_beyond} beyond the axis, up to {slowest} s.")
    if len(row.group.reports) > 1:
        shown = min(len(row.group.reports), _MOST_RUNS)
        parts.append(f"{shown} of {len(row.group.reports)} runs, the first one strongest.")
    return " ".join(parts)
