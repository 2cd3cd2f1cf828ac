"""AMD GPUs by amdsmi, the Python package that comes with ROCm."""

from collections.abc import Mapping, Sequence
from typing import Any

from mlpf_jax.telemetry import gpu, source

_UPDATE_S = 0.1  # an upper limit; the accumulator itself is faster
_WHOLE = "SPX"  # one partition: the whole card
# By amdsmi's names of states that lower the clock.
_SLOWED = {
    "slowed_by_power_limit": ("active_ppt_pwr",),
    "slowed_by_hardware": ("active_prochot_thrm",),
    "slowed_by_heat": ("active_socket_thrm", "active_vr_thrm", "active_hbm_thrm"),
}


def open_gpus(smi: Any, bus_ids: Sequence[str] | None) -> "list[Gpu]":
    """Returns the GPUs at these PCI addresses; None: the only one there is.

    Raises:
        LookupError: if there are several and no addresses.
        smi.AmdSmiException: if amdsmi does not work here.
    """
    smi.amdsmi_init()
    if bus_ids is None:
        handles = [source.only(smi.amdsmi_get_processor_handles())]
    else:
        handles = [smi.amdsmi_get_processor_handle_from_bdf(bus_id) for bus_id in bus_ids]
    return [Gpu(smi, handle, f"GPU {i}") for i, handle in enumerate(handles)]


class Gpu(gpu.Gpu):
    """One GPU."""

    library, prefix = "amdsmi", "amdsmi_get_"

    def __init__(self, smi: Any, handle: Any, name: str):
        super().__init__(smi, smi.AmdSmiException, handle, name)
        self._partition = self._ask("partition", "gpu_compute_partition")
        self.energy = self._open_counter()

    def describe(self) -> Mapping[str, Any]:
        """Returns identity, limits and modes."""
        smi, get, number = self._api, self._get, self._asker.number
        is_whole = self._partition in (None, _WHOLE)
        limit_uw = number("power_limit_w", lambda: get("power_cap_info")["power_cap"])
        return {
            "name": self._asker.ask("name", lambda: get("gpu_asic_info")["market_name"]),
            "uuid": self._ask("uuid", "gpu_device_uuid"),
            "driver": self._asker.ask("driver", lambda: get("gpu_driver_info")["driver_version"]),
            "share": "whole card" if is_whole else f"partition {self._partition}",
            "memory_bytes": number(
                "memory_bytes", lambda: get("gpu_memory_total", smi.AmdSmiMemoryType.VRAM)
            ),
            "power_limit_w": source.scaled(limit_uw, 1e-6),
            "max_clock_mhz": number("max_clock_mhz", lambda: self._clock()["max_clk"]),
        }

    def sample(self) -> Mapping[str, float | None]:
        """Returns clock, power, temperature, memory, use, errors, reasons and other processes."""
        smi, get, number = self._api, self._get, self._asker.number
        use = number("use", lambda: get("gpu_activity")["gfx_activity"])
        return {
            "clock_mhz": number("clock_mhz", lambda: self._clock()["clk"]),
            "power_w": self._power_w(),
            "temperature_c": number(
                "temperature_c",
                lambda: get(
                    "temp_metric",
                    smi.AmdSmiTemperatureType.HOTSPOT,
                    smi.AmdSmiTemperatureMetric.CURRENT,
                ),
            ),
            "used_memory_bytes": number(
                "used_memory_bytes", lambda: get("gpu_memory_usage", smi.AmdSmiMemoryType.VRAM)
            ),
            "use": source.scaled(use, 0.01),
            "ecc_errors": number(
                "ecc_errors", lambda: get("gpu_total_ecc_count")["uncorrectable_count"]
            ),
            "other_processes": self._number_of_others("gpu_process_list"),
            **self._slowed(),
        }

    def close(self) -> None:
        """Gives amdsmi back."""
        self._asker.ask("shutdown", self._api.amdsmi_shut_down)

    def _get(self, function: str, *arguments: Any) -> Any:
        return super()._get(function, self._handle, *arguments)

    def _clock(self) -> Mapping[str, Any]:
        return self._get("clock_info", self._api.AmdSmiClkType.GFX)

    def _power_w(self) -> float | None:
        """Returns the power now, or where a GPU does not tell it, its running mean."""
        found = self._ask("power_w", "power_info") or {}
        told = [found.get(name) for name in ("current_socket_power", "average_socket_power")]
        known = [value for value in told if isinstance(value, int | float) and value]
        return float(known[0]) if known else None

    def _slowed(self) -> dict[str, float | None]:
        found = self._ask("slowed", "violation_status") or {}
        return {name: _any_true([found.get(key) for key in keys]) for name, keys in _SLOWED.items()}

    def _open_counter(self) -> source.Counter | source.Absent:
        if self._partition not in (None, _WHOLE):
            return source.Absent(
                f"the counter is of the whole card, not of a {self._partition} part"
            )
        used_j = self._read_j()
        if used_j is None:
            return source.Absent(f"amdsmi's energy counter: {self.refused['energy']}")
        if used_j == 0:
            return source.Absent("amdsmi's energy counter stands at 0: another die counts for it")
        return source.Counter(
            "amdsmi energy accumulator", "GPU socket", _UPDATE_S, True, self._read_j
        )

    def _read_j(self) -> float | None:
        def read_uj() -> float:
            found = self._get("energy_count")
            ticks = found["energy_accumulator" if "energy_accumulator" in found else "power"]
            return ticks * found["counter_resolution"]

        return source.scaled(self._asker.number("energy", read_uj), 1e-6)


def _any_true(values: Sequence[Any]) -> float | None:
    """Returns 1 or 0; None if no value is known. Unknown ones are "N/A"."""
    known = [bool(value) for value in values if isinstance(value, bool | int)]
    return float(any(known)) if known else None
