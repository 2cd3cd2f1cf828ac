"""Several counters of energy as one."""

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float

from mlpf_jax.telemetry import record, source

_NONE = "there is no counter of energy"


def read_j(sources: Sequence[source.Source]) -> float | None:
    """Returns the joules of all together since any fixed moment; None if one is unknown."""
    values = [_read_one(one.energy) for one in sources]
    known = [value for value in values if value is not None]
    return sum(known) if values and len(known) == len(values) else None


def meter(
    sources: Sequence[source.Source],
    sensors: Mapping[str, record.Sensors],
    why_none: str | None,
) -> record.Meter | source.Absent:
    """Describes the counters of these sources, or returns the reason why one is missing."""
    missing = [one.energy.reason for one in sources if isinstance(one.energy, source.Absent)]
    if missing or not sources:
        return source.Absent(missing[0] if missing else why_none or _NONE)
    counters = [one.energy for one in sources if isinstance(one.energy, source.Counter)]
    first, count = counters[0], len(counters)
    found = [sensors[one.name] for one in sources]
    idle_w = [sensor.before.get("power_w") for sensor in found]
    known_w = [value for value in idle_w if value is not None]
    return record.Meter(
        source=first.source,
        scope=first.scope if count == 1 else f"{count} x {first.scope}",
        update_s=max(counter.update_s for counter in counters),
        power_limits_w=tuple(limit for sensor in found for limit in _limits_w(sensor)),
        idle_w=sum(known_w) if len(known_w) == count else None,
        power_w=_power_w(found) if first.has_power_sensor else None,
    )


def _read_one(counter: source.Counter | source.Absent) -> float | None:
    return counter.read_j() if isinstance(counter, source.Counter) else None


def _limits_w(sensor: record.Sensors) -> Sequence[float | None]:
    limit = sensor.description.get("power_limit_w")
    return limit if isinstance(limit, list) else [limit]


def _power_w(found: Sequence[record.Sensors]) -> Float[np.ndarray, "readings"] | None:
    series = [sensor.series["power_w"] for sensor in found if "power_w" in sensor.series]
    return np.sum(series, axis=0) if len(series) == len(found) else None
