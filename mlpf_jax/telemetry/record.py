"""What was recorded in a run: plain values, with the statistics of a phase."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Bool, Float

from mlpf_jax.stats import sum_ratios
from mlpf_jax.telemetry import source

_MOST_POINTS = 600  # of a series in a report

Windows = Sequence[tuple[float, float]]  # start and end of timed windows, in seconds


@dataclasses.dataclass(frozen=True, kw_only=True)
class Sensors:
    """The values of one source. Unknown ones are None, in series NaN."""

    name: str
    description: Mapping[str, Any]
    before: Mapping[str, float | None]
    after: Mapping[str, float | None]
    series: Mapping[str, Float[np.ndarray, "readings"]]
    refused: Mapping[str, str]  # why values are unknown, by name


@dataclasses.dataclass(frozen=True, kw_only=True)
class Meter:
    """The counter of energy of all devices together, or of the host."""

    source: str
    scope: str
    update_s: float
    power_limits_w: tuple[float | None, ...]  # of each device
    idle_w: float | None  # power before the run
    # Power of all devices, with every reading; None if it is known from the counter alone.
    power_w: Float[np.ndarray, "readings"] | None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Cost:
    """What each reading cost, in order."""

    cpu_s: tuple[float, ...]  # CPU time of the reading thread
    period_s: tuple[float, ...]  # since the reading before

    @property
    def share(self) -> sum_ratios.SumRatio | None:
        """CPU time over time; None if there was no reading."""
        return sum_ratios.sum_ratio(self.cpu_s, self.period_s) if self.cpu_s else None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Series:
    """One value during the timed windows of a phase."""

    mean: float
    min: float
    max: float
    values: tuple[float | None, ...]  # at the times of the phase


@dataclasses.dataclass(frozen=True, kw_only=True)
class PhaseSeries:
    """All values during the timed windows of a phase; of many readings, means of neighbours."""

    time_s: tuple[float, ...]
    sources: Mapping[str, Mapping[str, Series]]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Telemetry:
    """All that was recorded. Times are in seconds since the start of the recording."""

    sensors: tuple[Sensors, ...]
    absent: Mapping[str, str]  # why a source is missing, by name
    device_meter: Meter | source.Absent
    host_meter: Meter | source.Absent
    time_s: Float[np.ndarray, "readings"]
    cost: Cost

    def inside(self, windows: Windows) -> Bool[np.ndarray, "readings"]:
        """Returns which readings fell into one of the windows."""
        found = np.zeros(self.time_s.size, np.bool_)
        for start, end in windows:
            found[np.searchsorted(self.time_s, start) : np.searchsorted(self.time_s, end)] = True
        return found

    def during(self, windows: Windows) -> PhaseSeries:
        """Returns the values that are known during the windows."""
        inside = self.inside(windows)
        return PhaseSeries(
            time_s=tuple(_shortened(self.time_s[inside]).tolist()),
            sources={
                sensors.name: {
                    name: _series(values[inside])
                    for name, values in sensors.series.items()
                    if np.any(np.isfinite(values[inside]))
                }
                for sensors in self.sensors
            },
        )


def _series(values: Float[np.ndarray, "readings"]) -> Series:
    short = _shortened(values)
    return Series(
        mean=float(np.nanmean(values)),
        min=float(np.nanmin(values)),
        max=float(np.nanmax(values)),
        values=tuple(float(v) if np.isfinite(v) else None for v in short),
    )


def _shortened(values: Float[np.ndarray, "readings"]) -> Float[np.ndarray, "points"]:
    """Returns the means of as many neighbours as are needed for a bounded number of points.

    A mean with an unknown value is unknown.
    """
    number = -(-values.size // _MOST_POINTS)
    if number <= 1:
        return values
    starts = np.arange(0, values.size, number)
    counts = np.diff([*starts, values.size])
    return np.add.reduceat(values, starts) / counts
