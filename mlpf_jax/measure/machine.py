"""The machine's state before and after a measurement: conditions that can slow a program down.

The values come from Linux; those of devices are in `telemetry`. Unknown values are None.
"""

import dataclasses
from pathlib import Path

from mlpf_jax.measure import linux, slot


@dataclasses.dataclass(frozen=True, kw_only=True)
class MachineState:
    """The state at one moment. Counters count from the start of the machine."""

    governors: tuple[str, ...] | None  # distinct frequency governors of the cores
    core_mhz: float | None  # mean of all cores, now
    swapped_pages: int | None  # counter, in and out
    throttle_events: int | None  # counter, thermal throttling of cores and packages
    frequency_drivers: tuple[str, ...] | None = None  # distinct frequency drivers of the cores
    energy_preferences: tuple[str, ...] | None = None  # used by some of these drivers
    throttling: slot.Throttling | None = None  # counters of the CPU quota


@dataclasses.dataclass(frozen=True, kw_only=True)
class MachineChange:
    """The states before and after a measurement, and the changes in between."""

    before: MachineState
    after: MachineState

    @property
    def swapped_pages(self) -> int | None:
        """Pages that any process swapped in or out."""
        return _difference(self.before.swapped_pages, self.after.swapped_pages)

    @property
    def throttle_events(self) -> int | None:
        """Number of thermal throttling events of cores and packages."""
        return _difference(self.before.throttle_events, self.after.throttle_events)

    @property
    def throttling(self) -> slot.Throttling | None:
        """Periods of the CPU quota, and those in which it was exhausted; None without a quota."""
        before, after = self.before.throttling, self.after.throttling
        if before is None or after is None:
            return None
        return slot.Throttling(after.periods - before.periods, after.throttled - before.throttled)

    @property
    def governors_save_power(self) -> bool:
        """Whether a governor was `powersave` and really lowers the frequency.

        Under intel_pstate and amd-pstate-epp `powersave` only leaves the frequency to the
        hardware, and the energy preference decides.
        """
        state = self.before
        obeyed = {"intel_pstate", "amd-pstate-epp"}.issuperset(state.frequency_drivers or ("",))
        performs = obeyed and state.energy_preferences == ("performance",)
        return "powersave" in (state.governors or ()) and not performs


def read(root: Path = Path("/")) -> MachineState:
    """Returns the current state. `root` contains /proc and /sys."""
    cores = root / "sys/devices/system/cpu"
    frequencies = _numbers(_texts(cores, "cpu[0-9]*/cpufreq/scaling_cur_freq"))
    throttled = _numbers(
        _texts(cores, "cpu[0-9]*/thermal_throttle/core_throttle_count")
        + _texts(cores, "cpu[0-9]*/thermal_throttle/package_throttle_count")
    )
    return MachineState(
        governors=_each_once(cores, "scaling_governor"),
        core_mhz=sum(frequencies) / len(frequencies) / 1000 if frequencies else None,
        swapped_pages=_swapped_pages(root / "proc/vmstat"),
        throttle_events=sum(throttled) if throttled else None,
        frequency_drivers=_each_once(cores, "scaling_driver"),
        energy_preferences=_each_once(cores, "energy_performance_preference"),
        throttling=slot.throttling(root),
    )


def _difference(before: int | None, after: int | None) -> int | None:
    return None if before is None or after is None else after - before


def _each_once(cores: Path, name: str) -> tuple[str, ...] | None:
    return tuple(sorted(set(_texts(cores, f"cpu[0-9]*/cpufreq/{name}")))) or None


def _texts(folder: Path, pattern: str) -> list[str]:
    """Returns the texts of the files; offline cores have none."""
    return [text for path in sorted(folder.glob(pattern)) if (text := linux.text(path))]


def _numbers(texts: list[str]) -> list[int]:
    return [int(text) for text in texts if text.isdigit()]


def _swapped_pages(vmstat: Path) -> int | None:
    try:
        counters = dict(line.split() for line in linux.text(vmstat).splitlines())
        return int(counters["pswpin"]) + int(counters["pswpout"])
    except (KeyError, ValueError):
        return None
