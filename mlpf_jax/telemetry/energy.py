"""The energy of a phase: joules over exactly its timed windows, and events per joule."""

import dataclasses
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from mlpf_jax.stats import sum_ratios
from mlpf_jax.telemetry import record, source

_LONG_S, _MANY_UPDATES = 10.0, 100  # either makes a window long enough
_UPDATES_PER_BLOCK = 10
_FEWEST_READINGS = 10  # of power, to check the counter by them
_MOST_APART = 0.05


@dataclasses.dataclass(frozen=True, kw_only=True)
class Window:
    """A timed window of the steady state."""

    start_s: float | None  # since the start of the recording; None: it is of another recording
    seconds: float
    num_events: int
    joules: float | None  # None: the counter was refused, or was reset


@dataclasses.dataclass(frozen=True, kw_only=True)
class Energy:
    """The energy of all windows of a phase. None: unknown."""

    joules: float
    window_s: float  # all windows together
    mean_power_w: float
    events_per_j: sum_ratios.SumRatio
    net_events_per_j: sum_ratios.SumRatio | None  # without what the idle devices would have used
    idle_w: float | None
    sampled_j: float | None  # the same by integrating the power, read once a second
    source: str
    scope: str
    update_s: float  # how often the counter changes
    power_limits_w: tuple[float | None, ...]
    is_short: bool  # too short for the counter: less than 10 s and less than 100 updates

    @property
    def doubt(self) -> str | None:
        """One line if counter and sampled power do not agree."""
        if self.sampled_j is None or self.is_short:
            return None
        apart = self.sampled_j / self.joules - 1
        if abs(apart) <= _MOST_APART:
            return None
        return f"energy by sampled power differs from the counter by {100 * apart:+.0f} %"


def least_window_s(update_s: float) -> float:
    """Returns how long the windows of a phase must be for a counter that changes this often."""
    return min(_LONG_S, _MANY_UPDATES * update_s)


def measured(
    meter: record.Meter | source.Absent,
    windows: Sequence[Window],
    time_s: Float[np.ndarray, "readings"],
) -> Energy | source.Absent:
    """Returns the energy of these windows; `time_s` are the times of the meter's power."""
    if isinstance(meter, source.Absent):
        return meter
    joules = [window.joules for window in windows if window.joules is not None]
    if len(joules) < len(windows):
        return source.Absent(
            f"the counter was reset or not read in {len(windows) - len(joules)} of {len(windows)} "
            "samples"
        )
    total_j, window_s = sum(joules), sum(window.seconds for window in windows)
    if not total_j:
        return source.Absent(f"the counter did not change in {window_s:.3g} s")
    blocks = _blocks(windows, meter.update_s * _UPDATES_PER_BLOCK)
    return Energy(
        joules=total_j,
        window_s=window_s,
        mean_power_w=total_j / window_s,
        events_per_j=_events_per_j(blocks, 0.0),
        net_events_per_j=_net_events_per_j(blocks, meter.idle_w),
        idle_w=meter.idle_w,
        sampled_j=_sampled_j(meter, windows, time_s),
        source=meter.source,
        scope=meter.scope,
        update_s=meter.update_s,
        power_limits_w=meter.power_limits_w,
        is_short=window_s < least_window_s(meter.update_s),
    )


def _blocks(windows: Sequence[Window], least_s: float) -> list[list[Window]]:
    """Joins neighbours until each block is long enough for its counter."""
    blocks: list[list[Window]] = [[]]
    for window in windows:
        if sum(one.seconds for one in blocks[-1]) >= least_s:
            blocks.append([])
        blocks[-1].append(window)
    if len(blocks) > 1 and sum(one.seconds for one in blocks[-1]) < least_s:
        rest = blocks.pop()
        blocks[-1] += rest
    return blocks


def _events_per_j(blocks: Sequence[Sequence[Window]], idle_w: float) -> sum_ratios.SumRatio:
    events = [float(sum(one.num_events for one in block)) for block in blocks]
    joules = [sum((one.joules or 0.0) - idle_w * one.seconds for one in block) for block in blocks]
    return sum_ratios.sum_ratio(events, joules)


def _net_events_per_j(
    blocks: Sequence[Sequence[Window]], idle_w: float | None
) -> sum_ratios.SumRatio | None:
    """Returns None if the idle power is unknown, or as high as the power of the windows."""
    used_j = sum((one.joules or 0.0) for block in blocks for one in block)
    window_s = sum(one.seconds for block in blocks for one in block)
    if idle_w is None or idle_w * window_s >= used_j:
        return None
    return _events_per_j(blocks, idle_w)


def _sampled_j(
    meter: record.Meter, windows: Sequence[Window], time_s: Float[np.ndarray, "readings"]
) -> float | None:
    """Returns the integral of the power over the windows; None if it was read too rarely."""
    if meter.power_w is None:
        return None
    is_known = np.isfinite(meter.power_w)
    times, power_w = time_s[is_known], meter.power_w[is_known]
    starts = np.array([one.start_s for one in windows if one.start_s is not None])
    if starts.size < len(windows):
        return None
    ends = starts + [one.seconds for one in windows]
    first, last = float(starts[0]), float(ends[-1])
    if np.count_nonzero((times >= first) & (times <= last)) < _FEWEST_READINGS:
        return None
    # The first and last values hold until the ends.
    times = np.concatenate([[min(first, times[0])], times, [max(last, times[-1])]])
    power_w = np.concatenate([power_w[:1], power_w, power_w[-1:]])
    steps = np.diff(times) * (power_w[1:] + power_w[:-1]) / 2
    used_j = np.concatenate([[0.0], np.cumsum(steps)])
    return float(np.sum(np.interp(ends, times, used_j) - np.interp(starts, times, used_j)))
