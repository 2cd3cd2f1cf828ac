"""The figure of the compute roof: achieved arithmetic rate and peak rate of the devices.

Result files contain the operations of a step but not the bytes it moves, so only the flat part of a
roofline is shown.
"""

from collections.abc import Sequence

from matplotlib import figure

from mlpf_jax.compare import comparability, ratios
from mlpf_jax.page import sheet
from mlpf_jax.render import tables

_ROW, _FRAME = 22.0, 48.0
_UNITS = ((1e15, "PFLOP/s"), (1e12, "TFLOP/s"), (1e9, "GFLOP/s"), (1e6, "MFLOP/s"))


def plots(rows: Sequence[ratios.Row]) -> list[sheet.Plot]:
    """Returns a figure for each phase in which some devices have a known peak rate."""
    found = []
    for name in comparability.PHASES:
        columns = [(n, row.label, row.phases.get(name)) for n, row in enumerate(rows)]
        points = [(n, label, c) for n, label, c in columns if c and c.flops_per_s > 0]
        if any(phase.peak_share for _, _, phase in points):
            found.append(_roof(name, points))
    return found


def _roof(name: str, points: Sequence[tuple[int, str, ratios.PhaseColumn]]) -> sheet.Plot:
    largest = max(phase.flops_per_s for _, _, phase in points)
    unit, word = next((u for u in _UNITS if largest >= u[0]), _UNITS[-1])

    def paint(picture: figure.Figure) -> None:
        ax = picture.subplots()
        ends = []
        for place, (number, _, phase) in enumerate(points):
            achieved, peak, tone = phase.flops_per_s / unit, _peak(phase), sheet.colour(number)
            ends.append(achieved)
            ax.plot(achieved, place, sheet.marker(number), color=tone, markersize=6)
            if peak is not None:
                ends.append(peak / unit)
                ax.plot([achieved, peak / unit], [place] * 2, color=tone, linewidth=1, alpha=0.6)
                ax.plot(peak / unit, place, "|", color=sheet.INK, markersize=13, markeredgewidth=2)
            sheet.beside(ax, place, _share(phase))
        span, log = max(ends) / min(ends), sheet.is_wide(ends)
        sheet.scale(ax, "x", log=log, span=span)
        ax.set_xlim(*((min(ends) / 1.6, max(ends) * 1.6) if log else (0.0, max(ends) * 1.1)))
        sheet.rows_down(ax, [(text, sheet.colour(number)) for number, text, _ in points])
        ax.set_xlabel(f"{word} on all devices" + (", logarithmic" if log else ""))

    return sheet.plot(
        f"roof-{name}",
        f"Compute roof of {name}",
        "Point: floating-point operations per second of the steady state, as the compiler counts "
        "those of an event. Bar: the peak of all devices at this precision, from the maker\u2019s "
        "data sheet; at the right, the share of it. Where no peak is in the table of devices (any "
        "CPU), there is a point and no roof. Bytes are not counted, so there is no slope.",
        "; ".join(
            f"{text}: {tables.number(phase.flops_per_s / unit)} {word}, {_share(phase)}"
            for _, text, phase in points
        ),
        paint,
        height=_FRAME + _ROW * max(len(points), 2),
    )


def _peak(phase: ratios.PhaseColumn) -> float | None:
    """Returns the peak rate of the devices that the share refers to."""
    return phase.flops_per_s / phase.peak_share if phase.peak_share else None


def _share(phase: ratios.PhaseColumn) -> str:
    if not phase.peak_share:
        return "peak unknown"
    return f"{100 * phase.peak_share:.2g} % of peak"
