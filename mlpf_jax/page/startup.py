"""Figures of the time before the steady state: lowering, compilation, first call."""

from collections.abc import Sequence

import numpy as np
from matplotlib import figure

from mlpf_jax.compare import comparability, ratios
from mlpf_jax.page import sheet, steps
from mlpf_jax.render import tables

_ROW, _FRAME = 22.0, 66.0
_PARTS = ("lowering", "XLA", "first call", "one steady step")


def plots(rows: Sequence[ratios.Row]) -> list[sheet.Plot]:
    """Returns a figure for each phase in which a row has a measured compilation."""
    names = [name for name in comparability.PHASES if any(_has(row, name) for row in rows)]
    return [_bars(name, rows) for name in names]


def _has(row: ratios.Row, name: str) -> bool:
    return name in row.phases and row.phases[name].compile_s is not None


def _bars(name: str, rows: Sequence[ratios.Row]) -> sheet.Plot:
    there = [(number, row) for number, row in enumerate(rows) if _has(row, name)]
    seconds = [_seconds(row, name) for _, row in there]

    def paint(picture: figure.Figure) -> None:
        ax = picture.subplots()
        begins = np.zeros(len(there))
        for part, (word, tone) in enumerate(zip(_PARTS, sheet.PARTS, strict=True)):
            lengths = np.array([times[part] for times in seconds])
            ax.barh(range(len(there)), lengths, 0.55, begins, color=tone, label=word)
            begins += lengths
        for place, times in enumerate(seconds):
            sheet.beside(ax, place, f"{tables.number(sum(times[:3]), 3)} s")
        sheet.rows_down(ax, [(row.label, sheet.colour(number)) for number, row in there])
        sheet.scale(ax, "x", log=False)
        ax.set_xlabel("seconds")
        picture.legend(
            *ax.get_legend_handles_labels(), loc="outside upper left", ncols=4, handlelength=1.0
        )

    return sheet.plot(
        f"startup-{name}",
        f"Before the steady state of {name}",
        "Lowering: Python builds the program. XLA: it is compiled. First call: the first step of "
        "all. One steady step is shown for scale. On the right: the sum of the first three. "
        "Throughputs on this page never include compilation.",
        "; ".join(_told(row.label, times) for (_, row), times in zip(there, seconds, strict=True)),
        paint,
        height=_FRAME + _ROW * max(len(there), 2),
    )


def _seconds(row: ratios.Row, name: str) -> tuple[float, float, float, float]:
    """Returns the medians over the runs, in the order of the parts."""
    phases = [report.phases[name] for report in row.group.reports]
    compiled = [phase.compile_times for phase in phases]
    steady = [float(np.median(steps.step_s(phase.steady_samples))) for phase in phases]
    return (
        float(np.median([times.lower_s for times in compiled])),
        float(np.median([times.compile_s for times in compiled if times.compile_s is not None])),
        float(np.median([phase.first_call_s for phase in phases])),
        float(np.median(steady)),
    )


def _told(label: str, times: Sequence[float]) -> str:
    parts = [f"{word} {tables.number(s, 3)} s" for word, s in zip(_PARTS, times, strict=True)]
    return f"{label}: {', '.join(parts)}"
