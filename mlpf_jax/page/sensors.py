"""Figures of what sensors showed during the phases of a run: one for each row with telemetry."""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float
from matplotlib import axes, figure

from mlpf_jax.compare import comparability, ratios
from mlpf_jax.page import sheet
from mlpf_jax.report import facts, reader

_PANEL, _FRAME = 62.0, 48.0
_FEW = 20  # readings that are drawn as points, too
_HOST = ("host", "CPU packages")  # names of sources; all others are devices
# What is drawn, in order: of devices or of the host, by name, in words.
_DRAWN = (
    (False, "power_w", "power of a device, W"),
    (False, "clock_mhz", "clock of a device, MHz"),
    (False, "temperature_c", "temperature of a device, \u00b0C"),
    (False, "use", "share of time in which a device was used"),
    (True, "power_w", "power of the CPU\u2019s packages, W"),
    (True, "core_mhz", "mean frequency of the cores, MHz"),
    (True, "busy_cores", "busy cores, by all processes"),
    (True, "temperature_c", "hottest sensor of the host, \u00b0C"),
)


class _Line(NamedTuple):
    """One value of one source in one phase."""

    time_s: Float[np.ndarray, "readings"]
    values: Float[np.ndarray, "readings"]


class _Panel(NamedTuple):
    """One value of all sources and phases."""

    words: str
    lines: list[_Line]


def plots(rows: Sequence[ratios.Row]) -> list[sheet.Plot]:
    """Returns a figure for each row whose first run recorded something."""
    return [
        _plot(number, row, panels)
        for number, row in enumerate(rows)
        if (panels := list(_panels(row.group.first)))
    ]


def _panels(report: reader.Report) -> Iterator[_Panel]:
    for of_host, name, words in _DRAWN:
        lines = [
            line
            for phase in report.phases.values()
            for source, columns in (facts.at(phase.telemetry, "sources") or {}).items()
            if (source in _HOST) == of_host and (line := _line(phase.telemetry, columns.get(name)))
        ]
        if lines:
            yield _Panel(words, lines)


def _line(telemetry: Any, series: Mapping[str, Any] | None) -> _Line | None:
    """Returns a line with gaps where a value is unknown; None if nothing is known."""
    if not series:
        return None
    pairs = list(zip(telemetry["time_s"], series["values"], strict=False))
    values = np.array([math.nan if v is None or abs(v) > 1e30 else v for _, v in pairs], np.float64)
    if not np.any(np.isfinite(values)):
        return None
    return _Line(np.array([time for time, _ in pairs], np.float64), values)


def _plot(number: int, row: ratios.Row, panels: Sequence[_Panel]) -> sheet.Plot:
    spans = _spans(row.group.first)

    def paint(picture: figure.Figure) -> None:
        drawn = picture.subplots(len(panels), 1, sharex=True, squeeze=False)[:, 0]
        for ax, panel in zip(drawn, panels, strict=True):
            for line in panel.lines:
                marker = "." if line.values.size < _FEW else "none"
                ax.plot(*line, marker=marker, color=sheet.colour(number), linewidth=1.0)
            highest = max(float(np.nanmax(line.values)) for line in panel.lines)
            ax.set_ylim(0, max(1.15 * highest, 0.05))
            sheet.scale(ax, "y", log=False)
            ax.set_title(panel.words, loc="left", fontsize=sheet.SMALL, color=sheet.MUTED)
            _shade(ax, spans)
        for name, (start_s, _) in spans.items():
            drawn[0].text(
                start_s,
                0.06,
                f" {name}",
                fontsize=sheet.SMALL,
                color=sheet.INK,
                va="bottom",
                transform=drawn[0].get_xaxis_transform(),
            )
        sheet.scale(drawn[-1], "x", log=False)
        drawn[-1].set_xlabel("seconds since the start of the recording")

    told = "; ".join(f"{panel.words}: {_extent(panel)}" for panel in panels)
    several = row.group.first.copies > 1
    whose = " Copy 1 alone: its cores and its devices." if several else ""
    return sheet.plot(
        f"sensors-{row.label}",
        f"{row.label}: sensors while the samples were taken",
        "Read once a second; in a long run, means of neighbours. Only readings inside timed "
        f"windows are drawn. A line for each device.{whose} Ranges: {told}.",
        f"{row.label}: {told}.",
        paint,
        height=_FRAME + _PANEL * len(panels),
    )


def _extent(panel: _Panel) -> str:
    values = np.concatenate([line.values for line in panel.lines])
    low, high = (sheet.plain(float(f"{x:.4g}")) for x in (np.nanmin(values), np.nanmax(values)))
    return low if low == high else f"{low} to {high}"


def _spans(report: reader.Report) -> dict[str, tuple[float, float]]:
    """Returns when each phase with readings began and ended."""
    found: dict[str, tuple[float, float]] = {}
    for name in comparability.PHASES:
        phase = report.phases.get(name)
        times = (facts.at(phase.telemetry, "time_s") or []) if phase else []
        if times:
            found[name] = (min(times), max(times))
    return found


def _shade(ax: axes.Axes, spans: Mapping[str, tuple[float, float]]) -> None:
    for start_s, end_s in spans.values():
        ax.axvspan(start_s, end_s, color=sheet.SHADE, linewidth=0, zorder=0)
