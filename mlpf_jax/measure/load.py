"""CPU use by other processes during a sample. Known on Linux only; None elsewhere.

Only the cores available to this process count.
"""

import dataclasses
import os
import time
from collections.abc import Callable, Collection, Sequence
from pathlib import Path

from mlpf_jax.measure import slot

_STAT = Path("/proc/stat")


@dataclasses.dataclass(frozen=True)
class Load:
    """Cores in use by others, averaged over a sample."""

    other_cores: float  # of the available cores, kept busy by other processes
    stolen_cores: float  # needed by this machine, but given by the hypervisor to another one


@dataclasses.dataclass(frozen=True)
class CpuTimes:
    """CPU seconds on the available cores since the machine started, and those of this process."""

    busy_s: float
    stolen_s: float
    own_s: float


def parse(
    stat: str, ticks_per_s: int, own_s: float, cores: Collection[int] | None = None
) -> CpuTimes:
    """Reads /proc/stat: lines of `cpuN user nice system idle iowait irq softirq steal`.

    `cores` are the cores to sum; None: the whole machine, from the first line.

    Raises:
        ValueError: if one of the cores is missing.
    """
    names = ["cpu"] if cores is None else [f"cpu{core}" for core in cores]
    lines = {line.split(" ", 1)[0]: line for line in stat.splitlines()}
    if missing := [name for name in names if name not in lines]:
        raise ValueError(f"/proc/stat has no line for {', '.join(missing)}.")
    busy = stolen = 0
    for name in names:
        user, nice, system, _, _, irq, softirq, steal = map(int, lines[name].split()[1:9])
        busy += user + nice + system + irq + softirq
        stolen += steal
    return CpuTimes(busy / ticks_per_s, stolen / ticks_per_s, own_s)


def read() -> CpuTimes | None:
    """Returns the current times, or None if the system does not provide them."""
    try:
        stat = _STAT.read_text()
        ticks_per_s = os.sysconf("SC_CLK_TCK")
        return parse(stat, ticks_per_s, time.process_time(), slot.allowed_cores())
    except (OSError, ValueError, AttributeError):
        return None


def between(before: CpuTimes | None, after: CpuTimes | None, seconds: float) -> Load | None:
    """Returns the load over `seconds`. Negative differences, from coarse ticks, count as zero."""
    if before is None or after is None:
        return None
    own_s = after.own_s - before.own_s
    other_s = after.busy_s - before.busy_s - own_s
    stolen_s = after.stolen_s - before.stolen_s
    return Load(max(0.0, other_s) / seconds, max(0.0, stolen_s) / seconds)


def mean(parts: Sequence[tuple[Load, float]]) -> Load:
    """Returns the mean load over parts of the given lengths in seconds."""
    total_s = sum(seconds for _, seconds in parts)
    return Load(
        other_cores=sum(one.other_cores * seconds for one, seconds in parts) / total_s,
        stolen_cores=sum(one.stolen_cores * seconds for one, seconds in parts) / total_s,
    )


class Watch:
    """Measures the load between calls of `lap`."""

    def __init__(self, reader: Callable[[], CpuTimes | None] = read):
        self._reader = reader
        self._before = reader()

    def lap(self, seconds: float) -> Load | None:
        """Returns the load over the `seconds` since the last call, or since the creation."""
        before, self._before = self._before, self._reader()
        return between(before, self._before, seconds)
