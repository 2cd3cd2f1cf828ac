"""The state of the machine around a measurement: what can make the same program slower.

Linux and NVIDIA's driver tell; whatever cannot be told is None.
"""

import dataclasses
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

_GPU_QUERY = ("nvidia-smi", "--query-gpu=clocks_event_reasons.active", "--format=csv,noheader")
# Bits of NVML's nvmlClocksEventReasons that mean slower than the power limit asks for.
_GPU_SLOWDOWNS = {
    0x08: "hardware slowdown",
    0x20: "software thermal slowdown",
    0x40: "hardware thermal slowdown",
    0x80: "power brake",
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class MachineState:
    """One moment. The counters count since the machine started."""

    governors: tuple[str, ...] | None  # of the cores' frequency, each once
    core_mhz: float | None  # mean of all cores, now
    swapped_pages: int | None  # counter, in and out
    throttle_events: int | None  # counter, of cores and packages by heat
    gpu_slowdowns: tuple[str, ...] | None  # reasons why GPUs are slowed down now


@dataclasses.dataclass(frozen=True, kw_only=True)
class MachineChange:
    """The states before and after a measurement, and what happened in between."""

    before: MachineState
    after: MachineState

    @property
    def swapped_pages(self) -> int | None:
        """Pages that went to or came from swap, of any process."""
        return _difference(self.before.swapped_pages, self.after.swapped_pages)

    @property
    def throttle_events(self) -> int | None:
        """How often heat throttled a core or a package."""
        return _difference(self.before.throttle_events, self.after.throttle_events)


def read(root: Path = Path("/"), ask: Callable[[], str | None] | None = None) -> MachineState:
    """Returns the state now. `root` is where /proc and /sys are; `ask` is NVIDIA's answer."""
    cores = root / "sys/devices/system/cpu"
    governors = _texts(cores, "cpu[0-9]*/cpufreq/scaling_governor")
    frequencies = _numbers(_texts(cores, "cpu[0-9]*/cpufreq/scaling_cur_freq"))
    throttled = _numbers(
        _texts(cores, "cpu[0-9]*/thermal_throttle/core_throttle_count")
        + _texts(cores, "cpu[0-9]*/thermal_throttle/package_throttle_count")
    )
    return MachineState(
        governors=tuple(sorted(set(governors))) or None,
        core_mhz=sum(frequencies) / len(frequencies) / 1000 if frequencies else None,
        swapped_pages=_swapped_pages(root / "proc/vmstat"),
        throttle_events=sum(throttled) if throttled else None,
        gpu_slowdowns=_gpu_slowdowns((ask or _ask_nvidia)()),
    )


def _difference(before: int | None, after: int | None) -> int | None:
    return None if before is None or after is None else after - before


def _texts(folder: Path, pattern: str) -> list[str]:
    found = []
    for path in folder.glob(pattern):
        try:
            found.append(path.read_text().strip())
        except OSError:
            continue  # a core that is offline
    return found


def _numbers(texts: list[str]) -> list[int]:
    return [int(text) for text in texts if text.isdigit()]


def _swapped_pages(vmstat: Path) -> int | None:
    try:
        counters = dict(line.split() for line in vmstat.read_text().splitlines())
        return int(counters["pswpin"]) + int(counters["pswpout"])
    except (OSError, KeyError, ValueError):
        return None


def _ask_nvidia() -> str | None:
    try:
        done = subprocess.run(_GPU_QUERY, capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout


def _gpu_slowdowns(answer: str | None) -> tuple[str, ...] | None:
    if answer is None:
        return None
    masks = [int(mask, 16) for mask in re.findall(r"0x([0-9a-fA-F]+)", answer)]
    if not masks:
        return None
    return tuple(text for bit, text in _GPU_SLOWDOWNS.items() if any(m & bit for m in masks))
