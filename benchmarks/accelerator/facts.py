"""What is here: devices with their driver and sensors, versions, and packages that are missing."""

import dataclasses
import importlib.util
import os
from collections.abc import Sequence
from typing import Any

from mlpf_jax.measure import environment, memory, peaks
from mlpf_jax.run import devices as devices_lib
from mlpf_jax.telemetry import opening

# Packages that a stage or a step after it needs, and for what. They are optional.
OPTIONAL = {
    "torch": "the comparison with PyTorch",
    "pynvml": "clocks, power and energy of NVIDIA GPUs (nvidia-ml-py)",
    "orbax": "checkpoints (orbax-checkpoint)",
    "jsonschema": "tools.compare and tools.report",
    "matplotlib": "tools.report",
    "jinja2": "tools.report",
}


def missing() -> dict[str, str]:
    """Returns the optional packages that are not installed, and what they are for."""
    return {name: use for name, use in OPTIONAL.items() if importlib.util.find_spec(name) is None}


def describe(devices: Sequence[Any]) -> dict[str, Any]:
    """Returns the facts about these devices that the later stages depend on, and all others."""
    first = devices[0]
    capability = str(getattr(first, "compute_capability", ""))
    driver = first.client.platform_version
    ordinals = [device.local_hardware_id or 0 for device in devices]
    with opening.open_recorder(first.platform, driver, ordinals) as recorder:
        pass
    recorded = recorder.record()
    peak = peaks.find(first.device_kind)
    return {
        "platform": first.platform,
        "device_kind": first.device_kind,
        "num_devices": len(devices),
        "compute_capability": capability,
        "has_tf32": devices_lib.has_tf32(first.platform, capability),
        "platform_version": driver,
        "memory_bytes": memory.limit_bytes(first, len(devices)),
        "peak": dataclasses.asdict(peak),
        "telemetry": {
            one.name: {"description": one.description, "now": one.before, "refused": one.refused}
            for one in recorded.sensors
        },
        "no_telemetry": recorded.absent,
        "has_energy_counter": recorder.least_window_s is not None,
        "missing": missing(),
        "xla_flags": os.environ.get("XLA_FLAGS", ""),
        "environment": environment.describe(),
    }
