"""Reasons to distrust a measurement, by fixed limits. An empty list means that none was found."""

from collections.abc import Sequence

from mlpf_jax.measure import load, machine, slot
from mlpf_jax.stats import summaries

_FEWEST_EFFECTIVE = 4.0  # if the samples are significantly correlated
_WIDEST_INTERVAL = 0.2  # low to high, as a share of the median
_SHORTEST_S = 1.0  # of a phase whose load is checked: /proc/stat counts in 10 ms
# Shares of the machine's cores. The host of an accelerator has spare cores, a measured CPU has
# none.
_MOST_OTHERS_ON_CPU, _MOST_OTHERS_ON_HOST = 0.05, 0.5
_MOST_STOLEN = 0.02
_MOST_SWAPPED_PAGES = 256


def in_samples(score: summaries.Summary, drift: summaries.Drift) -> list[str]:
    """Returns reasons to distrust the score that the steady samples themselves show."""
    found = []
    if not score.has_interval:
        found.append(f"only {score.count} sample{'s' * (score.count != 1)}")
    elif score.is_correlated and score.effective_count < _FEWEST_EFFECTIVE:
        found.append(f"only {score.effective_count:.1f} independent samples")
    width = (score.interval_high - score.interval_low) / score.median
    if width > _WIDEST_INTERVAL:
        found.append(f"an interval {100 * width:.0f} % wide")
    if drift.verdict == "drifting":
        found.append(f"a drift of {100 * drift.change:+.0f} %")
    return found


def in_rate(share_of_peak: float | None) -> list[str]:
    """Returns a reason to distrust a rate that the devices cannot reach; None: unknown."""
    if share_of_peak is None or share_of_peak <= 1:
        return []
    return [f"{share_of_peak:.3g} times the peak rate of the devices, which is impossible"]


def mean_load(loads: Sequence[load.Load | None], seconds: Sequence[float]) -> load.Load | None:
    """Returns the mean load over samples of these lengths; None if unknown or too short."""
    known = [(one, s) for one, s in zip(loads, seconds, strict=True) if one is not None]
    if sum(s for _, s in known) < _SHORTEST_S:
        return None
    return load.mean(known)


def in_unknown_load(loads: Sequence[load.Load | None]) -> list[str]:
    """Returns a reason to distrust the score if the load by other processes is unknown."""
    is_unknown = bool(loads) and all(one is None for one in loads)
    return ["the load of other processes is unknown"] if is_unknown else []


def in_load(mean: load.Load | None, num_cores: int, *, on_cpu: bool) -> list[str]:
    """Returns reasons to distrust samples because of load by other processes."""
    if mean is None:
        return []
    found = []
    if mean.other_cores > (_MOST_OTHERS_ON_CPU if on_cpu else _MOST_OTHERS_ON_HOST) * num_cores:
        found.append(f"other processes on {mean.other_cores:.2f} of {num_cores} cores")
    if mean.stolen_cores > _MOST_STOLEN * num_cores:
        found.append(f"{mean.stolen_cores:.2f} cores taken by the hypervisor")
    return found


def in_slot(given: slot.Slot, *, on_cpu: bool) -> list[str]:
    """Returns reasons to distrust the run because of the share of the machine available to it.

    The host of an accelerator has spare CPU time, so a quota alone is no reason there.
    """
    num_allowed = len(given.allowed_cores or ())
    if not on_cpu or given.cpu_quota is None or not num_allowed or given.cpu_quota >= num_allowed:
        return []
    return [f"a CPU quota of {given.cpu_quota:g} cores, shared by threads on {num_allowed} cores"]


def in_machine(change: machine.MachineChange, *, on_cpu: bool) -> list[str]:
    """Returns reasons to distrust the run because of the machine's state."""
    found = []
    if (change.swapped_pages or 0) > _MOST_SWAPPED_PAGES:
        found.append(f"{change.swapped_pages} pages swapped")
    if change.throttle_events:
        found.append(f"CPU throttled by heat {change.throttle_events} times")
    if (throttling := change.throttling) and throttling.throttled:
        found.append(
            f"throttled by the CPU quota in {throttling.throttled} of {throttling.periods} periods"
        )
    if on_cpu and change.governors_save_power:
        found.append("frequency governor powersave")
    return found
