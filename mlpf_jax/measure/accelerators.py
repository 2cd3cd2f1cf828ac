"""Finds the accelerators of a machine from its files, even if JAX cannot use them.

Driver and bus also reveal devices that a container was started without.
"""

import importlib.metadata
from collections.abc import Callable
from pathlib import Path

# Packages that let JAX use an accelerator.
PLUGINS = ("jax-cuda12-plugin", "jax-cuda13-plugin", "jax-rocm7-plugin", "libtpu")

_NVIDIA, _AMD, _GOOGLE = "0x10de", "0x1002", "0x1ae0"  # PCI vendors
# Display controllers that are not for a screen, and processing accelerators (PCI classes).
_COMPUTES = ("0x0302", "0x0380", "0x1200")
# Google's TPUs, as in JAX (jax/_src/hardware_utils.py); other devices of Google are not TPUs.
_TPUS = ("0x0027", "0x0056", "0x005e", "0x0062", "0x0063", "0x006f", "0x0076")


def present(root: Path = Path("/")) -> tuple[str, ...]:
    """Returns descriptions of the kinds of accelerators."""
    found = {
        "NVIDIA GPU": ("dev/nvidia[0-9]*", "dev/dxg", "proc/driver/nvidia/gpus/*"),
        "AMD GPU": ("dev/kfd",),
        "TPU": ("dev/accel[0-9]*",),
    }
    on_bus: dict[str, Callable[[str, str, str], bool]] = {
        "NVIDIA GPU": lambda vendor, kind, _: vendor == _NVIDIA and kind.startswith(_COMPUTES),
        "AMD GPU": lambda vendor, kind, _: vendor == _AMD and kind.startswith(_COMPUTES),
        "TPU": lambda vendor, _, device: vendor == _GOOGLE and device in _TPUS,
    }
    bus = [
        (_read(path / "vendor"), _read(path / "class"), _read(path / "device"))
        for path in sorted(root.glob("sys/bus/pci/devices/*"))
    ]
    return tuple(
        name
        for name, patterns in found.items()
        if any(any(root.glob(pattern)) for pattern in patterns)
        or any(on_bus[name](*ids) for ids in bus)
    )


def plugins() -> tuple[str, ...]:
    """Returns which of `PLUGINS` are installed."""
    installed = []
    for name in PLUGINS:
        try:
            importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
        installed.append(name)
    return tuple(installed)


def _read(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""
