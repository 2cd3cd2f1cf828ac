"""Energy of the CPU's packages by RAPL, from the kernel's powercap files.

Only whole packages count: their sub-zones (cores, graphics) are part of them, `psys` contains them,
and `intel-rapl-mmio` shows the same packages again. The memory's sub-zone `dram` is not part of its
package on most servers; it is not counted, so that Intel and AMD, which has none, mean the same.

Source: Documentation/power/powercap/powercap.rst of the Linux kernel.
"""

import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from mlpf_jax.measure import linux
from mlpf_jax.telemetry import source

_UPDATE_S = 0.001
_SETTLE_S = 1.0  # the power is a mean over at least this time
_MOST_W = 5000.0  # no package uses more; a counter that was reset looks as if one did
_SLACK_S = 0.1  # longer than the counter takes to change


class Packages:
    """All packages of the machine, whoever uses them."""

    name = "CPU packages"
    part: source.Part = "packages"

    def __init__(self, root: Path = Path("/"), clock: Callable[[], float] = time.perf_counter):
        self.refused: dict[str, str] = {}
        self._clock, self._lock = clock, threading.Lock()
        self._zones: list[_Zone] = []
        self.energy = self._open(root / "sys/class/powercap")
        self.settle_s = _SETTLE_S if self._zones else 0.0
        self._before = (clock(), self._read_j())

    def _open(self, folder: Path) -> source.Counter | source.Absent:
        found = sorted(path for path in folder.glob("intel-rapl:*") if path.name.count(":") == 1)
        packages = [path for path in found if linux.text(path / "name").startswith("package")]
        if not packages:
            return source.Absent("this machine shows no RAPL package in /sys/class/powercap")
        try:
            self._zones = [_Zone(path, self._clock()) for path in packages]
        except PermissionError:
            return source.Absent("RAPL may only be read by root (energy_uj: permission denied)")
        except (OSError, ValueError) as error:
            return source.Absent(f"RAPL cannot be read: {error}")
        count = len(packages)
        scope = f"{count} CPU package{'s' * (count != 1)}"
        return source.Counter("RAPL by powercap", scope, _UPDATE_S, False, self._read_j)

    def describe(self) -> Mapping[str, Any]:
        """Returns the zones that are counted, and the power limit of each package in watts."""
        return {
            "zones": [zone.label for zone in self._zones] or None,
            "power_limit_w": [zone.power_limit_w() for zone in self._zones] or None,
        }

    def sample(self) -> Mapping[str, float | None]:
        """Returns the mean power since the last call, of all packages."""
        start, before = self._before
        now, after = self._before = self._clock(), self._read_j()
        is_known = before is not None and after is not None and now > start
        return {"power_w": (after - before) / (now - start) if is_known else None}

    def close(self) -> None:
        """Does nothing."""

    def _read_j(self) -> float | None:
        """Returns the joules of all packages since the start."""
        if not self._zones:
            return None
        with self._lock:
            try:
                return sum(zone.advance(self._clock()) for zone in self._zones)
            except (OSError, ValueError) as error:
                self.refused.setdefault("energy", str(error))
                return None


class _Zone:
    """One package. Its counter wraps around, so it must be read more often than that."""

    def __init__(self, folder: Path, now_s: float):
        self.label = f"{folder.name} ({linux.text(folder / 'name')})"
        self._folder = folder
        self._range_uj = linux.number(folder / "max_energy_range_uj") or 0
        self._last_s, self._last_uj = now_s, self._energy_uj()
        self._total_uj = 0
        self._failure: str | None = None

    def advance(self, now_s: float) -> float:
        """Returns the joules since the start.

        Raises:
            OSError: if the counter cannot be read.
            ValueError: if it ever went backwards other than by wrapping around: it was reset, and
                what was used until then is unknown.
        """
        now_uj = self._energy_uj()
        used = now_uj - self._last_uj
        if used < 0:
            used += self._range_uj
            if not 0 <= used <= 1e6 * _MOST_W * (now_s - self._last_s + _SLACK_S):
                why = "was reset" if self._range_uj else "wrapped, and its range is unknown"
                self._failure = self._failure or f"{self.label}: the counter {why}"
        if self._failure:
            raise ValueError(self._failure)
        self._last_s, self._last_uj = now_s, now_uj
        self._total_uj += used
        return self._total_uj / 1e6

    def power_limit_w(self) -> float | None:
        """Returns the long-term limit; None if there is none."""
        for path in sorted(self._folder.glob("constraint_*_name")):
            if linux.text(path) == "long_term":
                number = path.name.split("_")[1]
                limit_uw = linux.number(self._folder / f"constraint_{number}_power_limit_uw")
                return source.scaled(limit_uw, 1e-6)
        return None

    def _energy_uj(self) -> int:
        return int((self._folder / "energy_uj").read_text())
