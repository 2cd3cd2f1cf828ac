"""Telemetry, energy and cost of a run as a report contains them. Unknown values are None."""

import dataclasses
from typing import Any

from mlpf_jax.report import result as result_lib
from mlpf_jax.stats import sum_ratios, summaries
from mlpf_jax.telemetry import source

_S_PER_HOUR = 3600


def telemetry(run: result_lib.RunResult) -> dict[str, Any] | None:
    """Returns what the sources are, their values before and after the run, and what it cost."""
    recorded = run.telemetry
    if recorded is None:
        return None
    return {
        "num_readings": recorded.time_s.size,
        **_interval("cpu_share", recorded.cost.share),
        "absent": recorded.absent,
        "sources": {
            sensors.name: {
                "description": sensors.description,
                "before": sensors.before,
                "after": sensors.after,
                "refused": sensors.refused,
            }
            for sensors in recorded.sensors
        },
    }


def series(run: result_lib.RunResult, phase: result_lib.PhaseResult) -> dict[str, Any] | None:
    """Returns the values during the samples of a phase, with their statistics."""
    if run.telemetry is None:
        return None
    found = run.telemetry.during(phase.windows)
    return {
        "time_s": found.time_s,
        "sources": {
            name: {key: dataclasses.asdict(one) for key, one in columns.items()}
            for name, columns in found.sources.items()
        },
    }


def energy(
    run: result_lib.RunResult, phase: result_lib.PhaseResult, *, of_host: bool = False
) -> dict[str, Any] | None:
    """Returns the energy of a phase's steady samples."""
    found = run.energy(phase, of_host=of_host)
    if isinstance(found, source.Absent):
        return None
    plain = {f.name: getattr(found, f.name) for f in dataclasses.fields(found)}
    for name in ("events_per_j", "net_events_per_j"):
        plain |= _interval(name, plain[name])
    return plain


def why_no_energy(
    run: result_lib.RunResult, phase: result_lib.PhaseResult, *, of_host: bool = False
) -> str | None:
    """Returns the reason why the energy is unknown."""
    found = run.energy(phase, of_host=of_host)
    return found.reason if isinstance(found, source.Absent) else None


def cost_of_events(
    run: result_lib.RunResult, phase: result_lib.PhaseResult
) -> dict[str, float | None] | None:
    """Returns the price of a million events at the score, with the score's interval."""
    if run.price.per_hour is None:
        return None
    return of_a_million(run.price.per_hour / _S_PER_HOUR * 1e6, phase.score)


def of_a_million(price: float, score: summaries.Summary) -> dict[str, float | None]:
    """Returns the cost of a million events; `price` is that of a million seconds."""
    return _at("per_million_events", price / score.median, score)


def cost(run: result_lib.RunResult) -> dict[str, Any] | None:
    """Returns the price, and the cost of the whole training with its validations.

    Its interval is as wide as the training score's: that is what may differ another time.
    """
    price = run.price
    if price.per_hour is None:
        return None
    found: dict[str, Any] = {"price_per_hour": price.per_hour, "currency": price.currency}
    if run.training is not None:
        whole = price.per_hour / _S_PER_HOUR * run.train_seconds
        found |= _at("training", whole, run.training.score)
    return found


def _at(name: str, cost: float, score: summaries.Summary) -> dict[str, float | None]:
    """Returns a cost at a score, with ends where the score has an interval of 95 %."""
    has, whole = score.has_interval, cost * score.median
    return {
        name: cost,
        f"{name}_low": whole / score.interval_high if has else None,
        f"{name}_high": whole / score.interval_low if has else None,
    }


def _interval(name: str, found: sum_ratios.SumRatio | None) -> dict[str, float | None]:
    """Returns value and ends; what is measured here cannot be negative."""
    if found is None:
        return dict.fromkeys((name, f"{name}_low", f"{name}_high"))
    low = None if found.low is None else max(0.0, found.low)
    return {name: found.value, f"{name}_low": low, f"{name}_high": found.high}
