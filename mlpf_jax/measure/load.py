"""How much of the machine others used while a sample was taken. Linux tells; elsewhere None."""

import dataclasses
import os
import time
from collections.abc import Callable
from pathlib import Path

_STAT = Path("/proc/stat")


@dataclasses.dataclass(frozen=True)
class Load:
    """Cores that were not ours, on average over a sample."""

    other_cores: float  # kept busy by other processes of this machine
    stolen_cores: float  # wanted by this machine, given by the hypervisor to another one


@dataclasses.dataclass(frozen=True)
class CpuTimes:
    """Seconds of CPU since the machine started, and those of this process."""

    busy_s: float
    stolen_s: float
    own_s: float


def parse(stat: str, ticks_per_s: int, own_s: float) -> CpuTimes:
    """Reads the first line of /proc/stat: `cpu user nice system idle iowait irq softirq steal`."""
    ticks = [int(field) for field in stat.split("\n", 1)[0].split()[1:9]]
    user, nice, system, _, _, irq, softirq, steal = ticks
    busy = user + nice + system + irq + softirq
    return CpuTimes(busy / ticks_per_s, steal / ticks_per_s, own_s)


def read() -> CpuTimes | None:
    """Returns the times now, or None where the system does not tell them."""
    try:
        stat = _STAT.read_text()
        return parse(stat, os.sysconf("SC_CLK_TCK"), time.process_time())
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
