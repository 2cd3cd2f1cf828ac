"""Energy and cost of copies that ran side by side.

The copies on a CPU all read the same counters of its packages, so the power is that of one reading.
Copies on accelerators read those of their own devices, so the power is the sum. What the idle
machine uses is unknown: while one copy was idle, others were not.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from mlpf_jax.report import consumption, reader
from mlpf_jax.stats import summaries

_RATES = ("events_per_j", "events_per_j_low", "events_per_j_high")
_NET = ("idle_w", "net_events_per_j", "net_events_per_j_low", "net_events_per_j_high")


def add(
    document: dict[str, Any],
    phases: Sequence[reader.Phase],
    score: summaries.Summary,
    *,
    on_cpu: bool,
) -> None:
    """Replaces energy and cost in the document of a phase by those of all copies.

    `score` is that of all together.
    """
    for name in ("energy", "host_energy"):
        if document.get(name):
            parts = [phase.document.get(name) for phase in phases]
            known = [part for part in parts if part]
            same = on_cpu or name == "host_energy"
            if len(known) < len(parts):
                document |= {name: None, f"{name}_unknown": "unknown for some of the copies"}
            else:
                document[name] = _energy(known, phases, reads_same=same)
    if document.get("cost"):
        price = document["cost"]["per_million_events"] * phases[0].score.median
        document["cost"] = consumption.of_a_million(price, score)


def _energy(
    parts: Sequence[Mapping[str, Any]], phases: Sequence[reader.Phase], *, reads_same: bool
) -> dict[str, Any]:
    """Returns the energy of all copies: rates of events add up over the power of all."""
    powers = [part["mean_power_w"] for part in parts]
    power = math.fsum(powers) / (len(powers) if reads_same else 1)
    combine = max if reads_same else math.fsum
    found = {
        **parts[0],
        "joules": combine([part["joules"] for part in parts]),
        "window_s": max(part["window_s"] for part in parts),
        "mean_power_w": power,
        "is_short": any(part["is_short"] for part in parts),
        "sampled_j": None,
        **dict.fromkeys(_NET),
    }
    if not reads_same:
        found["scope"] = f"{len(parts)} x {parts[0]['scope']}"
        found["power_limits_w"] = [limit for part in parts for limit in part["power_limits_w"]]
    weights = [own / power for own in powers]
    for name in _RATES:
        values = [part[name] for part in parts]
        known = [value for value in values if value is not None]
        found[name] = (
            math.fsum(w * v for w, v in zip(weights, known, strict=True))
            if len(known) == len(values)
            else None
        )
    return found
