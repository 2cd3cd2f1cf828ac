"""Reasons to distrust a phase that telemetry shows, one line for each kind."""

from collections.abc import Iterator, Mapping

import numpy as np
from jaxtyping import Float

from mlpf_jax.telemetry import record

_PREFIX = "slowed_by_"
_POWER_LIMIT = "slowed_by_power_limit"
_MOST_LIMITED = 0.05  # share of readings at the power limit; any other reason counts at once
_MOST_CHANGED = 0.1  # share of the clock between its tenth and ninetieth percentile
_FEWEST = 10  # readings of a clock

Columns = Mapping[str, Mapping[str, Float[np.ndarray, "inside"]]]  # by source and name


def in_windows(telemetry: record.Telemetry, windows: record.Windows, *, on_cpu: bool) -> list[str]:
    """Returns the reasons found in these timed windows."""
    inside = telemetry.inside(windows)
    known: Columns = {
        sensors.name: {
            name: values[inside & np.isfinite(values)] for name, values in sensors.series.items()
        }
        for sensors in telemetry.sensors
    }
    clock = "fastest_core_mhz" if on_cpu else "clock_mhz"  # others may idle
    found = [_line("clock changed", _changes(known, clock))]
    found += [_line(*slowed) for slowed in _slowdowns(known)]
    found.append(_line("other processes on the device", _others(known)))
    return [line for line in found if line]


def _line(what: str, where: list[str]) -> str:
    return f"{what}: {', '.join(where)}" if where else ""


def _changes(known: Columns, clock: str) -> list[str]:
    found = []
    for source, columns in known.items():
        values = columns.get(clock)
        if values is None or values.size < _FEWEST:
            continue
        low, high = np.percentile(values, [10, 90])
        if high - low > _MOST_CHANGED * high:
            found.append(f"{source} from {low:.0f} to {high:.0f} MHz")
    return found


def _slowdowns(known: Columns) -> Iterator[tuple[str, list[str]]]:
    names = {name for columns in known.values() for name in columns if name.startswith(_PREFIX)}
    for name in sorted(names):
        most = _MOST_LIMITED if name == _POWER_LIMIT else 0.0
        where = []
        for source, columns in known.items():
            values = columns.get(name)
            if values is not None and values.size and values.mean() > most:
                where.append(f"{source} in {100 * values.mean():.0f} % of the readings")
        yield name.replace("_", " "), where


def _others(known: Columns) -> list[str]:
    return [
        f"{columns['other_processes'].max():.0f} on {source}"
        for source, columns in known.items()
        if np.any(columns.get("other_processes", np.zeros(0)) > 0)
    ]
