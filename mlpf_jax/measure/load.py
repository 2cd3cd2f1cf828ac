"""How much of our cores others used while a sample was taken. Linux tells; elsewhere None.

What runs on a core that this process may not use takes nothing from it, and does not count.
"""

import dataclasses
import os
import time
from collections.abc import Callable, Collection
from pathlib import Path

from mlpf_jax.measure import slot

_STAT = Path("/proc/stat")


@dataclasses.dataclass(frozen=True)
class Load:
    """Cores that were not ours, on average over a sample."""

    other_cores: float  # of those that we may use, kept busy by other processes
    stolen_cores: float  # wanted by this machine, given by the hypervisor to another one


@dataclasses.dataclass(frozen=True)
class CpuTimes:
    """Seconds of CPU on our cores since the machine started, and those of this process."""

    busy_s: float
    stolen_s: float
    own_s: float


def parse(
    stat: str, ticks_per_s: int, own_s: float, cores: Collection[int] | None = None
) -> CpuTimes:
    """Reads /proc/stat: lines of `cpuN user nice system idle iowait irq softirq steal`.

    `cores` are those to add up; None: the machine's, in the first line.

    Raises:
        ValueError: if one of them is not told.
    """
    names = ["cpu"] if cores is None else [f"cpu{core}" for core in cores]
    lines = {line.split(" ", 1)[0]: line for line in stat.splitlines()}
    if missing := [name for name in names if name not in lines]:
        raise ValueError(f"/proc/stat does not tell of {', '.join(missing)}.")
    busy = stolen = 0
    for name in names:
        user, nice, system, _, _, irq, softirq, steal = map(int, lines[name].split()[1:9])
        busy += user + nice + system + irq + softirq
        stolen += steal
    return CpuTimes(busy / ticks_per_s, stolen / ticks_per_s, own_s)


def read() -> CpuTimes | None:
    """Returns the times now, or None where the system does not tell them."""
    try:
        stat = _STAT.read_text()
        ticks_per_s = os.sysconf("SC_CLK_TCK")
        return parse(stat, ticks_per_s, time.process_time(), slot.allowed_cores())
    except (OSError, ValueError, AttributeError):
        return None


def between(before: CpuTimes | None, after: CpuTimes | None, seconds: float) -> Load | None:
    """Returns the load over `seconds`; what the coarse ticks make negative is none."""
    if before is None or after is None:
        return None
    own_s = after.own_s - before.own_s
    other_s = after.busy_s - before.busy_s - own_s
    stolen_s = after.stolen_s - before.stolen_s
    return Load(max(0.0, other_s) / seconds, max(0.0, stolen_s) / seconds)


class Watch:
    """Takes the load from one call of `lap` to the next."""

    def __init__(self, reader: Callable[[], CpuTimes | None] = read):
        self._reader = reader
        self._before = reader()

    def lap(self, seconds: float) -> Load | None:
        """Returns the load since the last call, or since this was made, `seconds` long."""
        before, self._before = self._before, self._reader()
        return between(before, self._before, seconds)
