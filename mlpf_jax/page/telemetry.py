"""Figures of other values recorded per sample, such as load by other processes."""

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float
from matplotlib import figure

from mlpf_jax.compare import ratios
from mlpf_jax.page import envelope, sheet
from mlpf_jax.report import reader

_PANEL, _FRAME = 70.0, 34.0
_MOST_SERIES = 6
_NOT_DRAWN = {  # times and work, and to which process of a resumed run a sample belongs
    *("sample_s", "sample_steps", "sample_events", "sample_elements", "sample_start_s"),
    "sample_segment",
}
_NAME = re.compile(r"sample_[a-z0-9_]{1,40}")
_WORDS = {
    "sample_other_cores": "cores of others",
    "sample_stolen_cores": "stolen cores",
    "sample_energy_j": "energy of a sample, J",
    "sample_host_energy_j": "energy of the host\u2019s CPU packages in a sample, J",
}


def plots(rows: Sequence[ratios.Row]) -> list[sheet.Plot]:
    """Returns a figure for each row and phase with recorded values."""
    return [
        _panels(number, row, name, found)
        for number, row in enumerate(rows)
        for name in row.phases
        if (found := series(row.group.first, name))
    ]


def series(report: reader.Report, phase: str) -> dict[str, Float[np.ndarray, "samples"]]:
    """Returns the values recorded for every sample of a phase, besides its times and work.

    Unknown values are NaN; series that are always 0 are excluded.
    """
    fields: Mapping[str, Any] = report.stats["phases"][phase]
    count = len(report.phases[phase].samples)
    found = {}
    for name, values in fields.items():
        if name in _NOT_DRAWN or not _NAME.fullmatch(name) or not isinstance(values, list):
            continue
        numbers = np.array([_number(value) for value in values], np.float64)
        if numbers.size == count and np.any(np.nan_to_num(numbers)):
            found[name] = numbers
    return dict(list(found.items())[:_MOST_SERIES])


def _number(value: Any) -> float:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return float(value) if is_number and abs(value) < 1e30 else math.nan


def _panels(
    number: int, row: ratios.Row, phase: str, found: Mapping[str, Float[np.ndarray, "samples"]]
) -> sheet.Plot:
    samples = row.group.first.phases[phase].samples
    ends = np.cumsum([sample.seconds for sample in samples])

    def paint(picture: figure.Figure) -> None:
        panels = picture.subplots(len(found), 1, sharex=True, squeeze=False)[:, 0]
        for panel, (name, values) in zip(panels, found.items(), strict=True):
            shown = envelope.envelope(values)
            places = np.interp(shown.place, np.arange(ends.size), ends)
            tone = sheet.colour(number)
            panel.fill_between(places, 0, shown.high, color=tone, alpha=0.25, linewidth=0)
            panel.plot(places, shown.median, color=tone, linewidth=1.0)
            panel.set_ylim(0, max(1.1 * float(np.nanmax(values)), 0.05))
            sheet.scale(panel, "y", log=False)
            panel.set_title(_words(name), loc="left", fontsize=sheet.SMALL, color=sheet.MUTED)
        sheet.scale(panels[-1], "x", log=False)
        panels[-1].set_xlabel("seconds of samples")

    means = "; ".join(f"{_words(name)}: {np.nanmean(v):.3g}" for name, v in found.items())
    return sheet.plot(
        f"telemetry-{row.label}-{phase}",
        f"{row.label}: beside the samples of {phase}",
        f"Means: {means}.",
        f"{row.label}, {phase}, means over the samples: {means}.",
        paint,
        height=_FRAME + _PANEL * len(found),
    )


def _words(name: str) -> str:
    return _WORDS.get(name, name.removeprefix("sample_").replace("_", " "))
