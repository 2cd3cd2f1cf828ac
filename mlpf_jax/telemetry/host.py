"""The host's clocks, load, memory and heat, from /proc and /sys."""

import os
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from mlpf_jax.measure import linux, load, slot
from mlpf_jax.telemetry import source

_MOST_CORES = 16  # whose frequency is read; each costs about 20 microseconds
_SHORTEST_S = 0.1  # for a load: /proc/stat counts in 10 ms
_HOTTEST_C = 150.0  # broken sensors show more
_LACKING = {
    "core_mhz": "no cpufreq in /sys: a virtual machine, or no frequency driver",
    "fastest_core_mhz": "no cpufreq in /sys: a virtual machine, or no frequency driver",
    "temperature_c": "no thermal zone and no hwmon sensor in /sys",
    "heat_throttlings": "no thermal_throttle counter in /sys: not an Intel CPU, or a virtual one",
    "free_memory_bytes": "/proc/meminfo does not tell it",
}


class Host:
    """The machine that the process runs on."""

    name = "host"
    part: source.Part = "host"
    settle_s = 0.0
    energy: source.Counter | source.Absent = source.Absent("the packages count the CPU's energy")

    def __init__(
        self,
        root: Path = Path("/"),
        clock: Callable[[], float] = time.perf_counter,
        cpu_times: Callable[[], load.CpuTimes | None] = load.read,
    ):
        self.refused: dict[str, str] = {}
        self._root, self._clock, self._cpu_times = root, clock, cpu_times
        cores = slot.allowed_cores(root) or tuple(range(os.cpu_count() or 1))
        self._cores = cores[:: -(-len(cores) // _MOST_CORES)]
        self._zones = sorted((root / "sys/class/thermal").glob("thermal_zone*/temp"))
        self._zones += sorted((root / "sys/class/hwmon").glob("hwmon*/temp*_input"))
        self._before: tuple[float, load.CpuTimes | None] = (clock(), cpu_times())

    def describe(self) -> Mapping[str, Any]:
        """Returns the memory nodes with their cores, and the number of sensors of heat."""
        nodes = sorted((self._root / "sys/devices/system/node").glob("node[0-9]*"))
        return {
            "numa_nodes": {node.name: linux.text(node / "cpulist") for node in nodes} or None,
            "num_heat_sensors": len(self._zones),
        }

    def sample(self) -> Mapping[str, float | None]:
        """Returns frequencies, load, memory, temperature, and how often heat throttled."""
        core_khz = self._of_cores("cpufreq/scaling_cur_freq")
        found = {
            "core_mhz": sum(core_khz) / len(core_khz) / 1000 if core_khz else None,
            "fastest_core_mhz": max(core_khz) / 1000 if core_khz else None,
            "busy_cores": self._busy_cores(),
            "load_1_min": os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
            "free_memory_bytes": linux.kib(
                linux.fields(self._root / "proc/meminfo").get("MemAvailable")
            ),
            "temperature_c": self._temperature_c(),
            "heat_throttlings": self._heat_throttlings(),
        }
        for name, reason in _LACKING.items():
            if found[name] is None:
                self.refused.setdefault(name, reason)
        return found

    def close(self) -> None:
        """Does nothing."""

    def _heat_throttlings(self) -> int | None:
        found = self._of_cores("thermal_throttle/core_throttle_count")
        return sum(found) if found else None

    def _of_cores(self, name: str) -> Sequence[int]:
        """Returns the numbers of the cores that the process may use, or of some of them."""
        folder = self._root / "sys/devices/system/cpu"
        values = [linux.number(folder / f"cpu{core}" / name) for core in self._cores]
        return [value for value in values if value is not None]

    def _busy_cores(self) -> float | None:
        """Returns the mean number of busy cores, of any process, since the last call."""
        start, before = self._before
        now, after = self._before = self._clock(), self._cpu_times()
        if before is None or after is None:
            self.refused.setdefault("busy_cores", "/proc/stat does not tell the times of the cores")
            return None
        if now - start < _SHORTEST_S:
            return None
        return max(0.0, after.busy_s - before.busy_s) / (now - start)

    def _temperature_c(self) -> float | None:
        """Returns the temperature of the hottest sensor."""
        found = [linux.number(zone) for zone in self._zones]
        degrees = [value / 1000 for value in found if value is not None]
        return max((value for value in degrees if 0 < value < _HOTTEST_C), default=None)
