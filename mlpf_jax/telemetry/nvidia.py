"""NVIDIA GPUs by NVML (the package nvidia-ml-py), under its present and its older names."""

import os
from collections.abc import Mapping, Sequence
from typing import Any

from mlpf_jax.telemetry import gpu, source

_UPDATE_S = 0.1  # of the counter of energy
_SM, _MEMORY = 1, 2  # nvmlClockType_t
_CORE = 0  # nvmlTemperatureSensors_t
_UNCORRECTED, _SINCE_DRIVER = 1, 0  # nvmlMemoryErrorType_t, nvmlEccCounterType_t: volatile
# The name since driver 535, and the one before.
_REASONS = ("GetCurrentClocksEventReasons", "GetCurrentClocksThrottleReasons")
# Bits of nvmlClocksEventReasons that mean less speed. Idle, or clocks set by a user, do not.
_SLOWED = {
    "slowed_by_power_limit": 0x04,
    "slowed_by_hardware": 0x08,
    "slowed_by_heat": 0x20 | 0x40,  # seen by software, by hardware
    "slowed_by_power_brake": 0x80,
}
_NO_SENSOR = "a MIG slice has no sensor of its own for it; the card's covers other slices, too"


def open_gpus(nvml: Any, uuids: Sequence[str] | None) -> "list[Gpu]":
    """Returns the GPUs with these UUIDs, without their prefix; None: the only one there is.

    Raises:
        LookupError: if there are several and no UUIDs, or none with that UUID.
        nvml.NVMLError: if NVML does not work here.
    """
    nvml.nvmlInit()
    if uuids is None:
        index = source.only(range(nvml.nvmlDeviceGetCount()))
        return [Gpu(nvml, nvml.nvmlDeviceGetHandleByIndex(index), "GPU 0")]
    return [Gpu(nvml, find(nvml, uuid), f"GPU {i}") for i, uuid in enumerate(uuids)]


def find(nvml: Any, uuid: str) -> Any:
    """Returns the handle of a GPU, or of a MIG slice, by its UUID without the prefix.

    Raises:
        LookupError: if NVML does not show it.
    """
    for prefix in ("GPU-", "MIG-"):
        try:
            return nvml.nvmlDeviceGetHandleByUUID(prefix + uuid)
        except nvml.NVMLError:
            continue
    raise LookupError(f"NVML does not show the GPU {uuid}")


class Gpu(gpu.Gpu):
    """One GPU, or one MIG slice of it."""

    library, prefix = "NVML", "nvmlDevice"

    def __init__(self, nvml: Any, handle: Any, name: str):
        super().__init__(nvml, nvml.NVMLError, handle, name)
        self._is_slice = bool(self._ask("slice", "IsMigDeviceHandle", handle))
        # Clocks and temperatures belong to the card.
        card = self._is_slice and self._ask("card", "GetDeviceHandleFromMigDeviceHandle", handle)
        self._card = card or handle
        self._reasons = self._find_reasons()
        self.energy = self._open_counter()

    def describe(self) -> Mapping[str, Any]:
        """Returns identity, limits and modes."""
        memory = self._ask("memory_bytes", "GetMemoryInfo", self._handle)
        limit_mw = self._number("power_limit_w", "GetEnforcedPowerLimit", self._card)
        default_mw = self._number(
            "default_power_limit_w", "GetPowerManagementDefaultLimit", self._card
        )
        return {
            "name": self._ask("name", "GetName", self._handle),
            "uuid": self._ask("uuid", "GetUUID", self._handle),
            "driver": self._asker.ask("driver", self._api.nvmlSystemGetDriverVersion),
            "share": self._share(),
            "is_mig_enabled": self._is_on("is_mig_enabled", "GetMigMode"),
            "is_ecc_enabled": self._is_on("is_ecc_enabled", "GetEccMode"),
            "memory_bytes": memory and memory.total,
            "power_limit_w": source.scaled(limit_mw, 1e-3),
            "default_power_limit_w": source.scaled(default_mw, 1e-3),
            "max_clock_mhz": self._number("max_clock_mhz", "GetMaxClockInfo", self._card, _SM),
        }

    def sample(self) -> Mapping[str, float | None]:
        """Returns clocks, power, temperature, memory, use, errors, reasons and other processes."""
        card = self._card
        memory = self._ask("used_memory_bytes", "GetMemoryInfo", self._handle)
        rates = self._ask("use", "GetUtilizationRates", self._handle)
        return {
            "clock_mhz": self._number("clock_mhz", "GetClockInfo", card, _SM),
            "memory_clock_mhz": self._number("memory_clock_mhz", "GetClockInfo", card, _MEMORY),
            "power_w": self._power_w(),
            "temperature_c": self._number("temperature_c", "GetTemperature", card, _CORE),
            "used_memory_bytes": memory and memory.used,
            "use": rates and rates.gpu / 100,  # share of time with a kernel on the GPU
            "ecc_errors": self._number(
                "ecc_errors", "GetTotalEccErrors", card, _UNCORRECTED, _SINCE_DRIVER
            ),
            "other_processes": self._number_of_others("GetComputeRunningProcesses", self._handle),
            **self._slowed(),
        }

    def close(self) -> None:
        """Gives NVML back."""
        self._asker.ask("shutdown", self._api.nvmlShutdown)

    def _number(self, name: str, function: str, *arguments: Any) -> float | None:
        return self._asker.number(name, self._get, function, *arguments)

    def _is_on(self, name: str, function: str) -> bool | None:
        found = self._ask(name, function, self._card)  # now, and after the next start
        return None if found is None else bool(found[0])

    def _share(self) -> str:
        if self._is_slice:
            name = str(self._ask("name", "GetName", self._handle) or "")
            return f"MIG slice {name.partition(' MIG ')[2]}".strip()
        percentage = os.environ.get("CUDA_MPS_ACTIVE_THREAD_PERCENTAGE")
        if percentage:
            return f"MPS share of {percentage} %"
        is_shared = self._ask("mps", "GetMPSComputeRunningProcesses", self._card)
        return "MPS share" if is_shared else "whole card"

    def _power_w(self) -> float | None:
        if self._is_slice:
            self.refused.setdefault("power_w", _NO_SENSOR)
            return None
        return source.scaled(self._number("power_w", "GetPowerUsage", self._card), 1e-3)

    def _find_reasons(self) -> str | None:
        """Returns the function for clock-event reasons that driver and bindings know."""
        for name in _REASONS:
            if self._ask("slowed", name, self._card) is not None:
                self.refused.pop("slowed", None)  # an older driver does not know the newer name
                return name
        return None

    def _slowed(self) -> dict[str, float | None]:
        found = None if self._reasons is None else self._ask("slowed", self._reasons, self._card)
        return {
            name: None if found is None else float(bool(found & bits))
            for name, bits in _SLOWED.items()
        }

    def _open_counter(self) -> source.Counter | source.Absent:
        if self._is_slice:
            return source.Absent("a MIG slice has no energy counter; the card's covers all slices")
        if self._read_j() is None:
            return source.Absent(f"NVML's energy counter: {self.refused['energy']}")
        return source.Counter("NVML total energy", "GPU board", _UPDATE_S, True, self._read_j)

    def _read_j(self) -> float | None:
        return source.scaled(self._number("energy", "GetTotalEnergyConsumption", self._card), 1e-3)
