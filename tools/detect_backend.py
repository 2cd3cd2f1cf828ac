"""Finds the back end for this machine, with the standard library only: nothing is installed.

    python3 -I tools/detect_backend.py

prints the name of a lock in `locks/`, and the reason on the second line. tools/venv.sh uses it if
BACKEND is not given. It never fails: without a usable device the result is `cpu`.
"""

import ctypes
import os
import platform
import re
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

_TIMEOUT_S = 20.0  # nvidia-smi takes some seconds on a node with eight idle GPUs
_GOOGLE = "0x1ae0"
# Source: jax/_src/hardware_utils.py; other Google devices are network cards and disks.
_TPUS = {"0x0027", "0x0056", "0x005e", "0x0062", "0x0063", "0x006f", "0x0076"}
# Drivers by JAX's installation page: CUDA 13 has no code for GPUs before Turing (7.5).
_CUDA_13_DRIVER, _CUDA_12_DRIVER, _CUDA_13_CAPABILITY = 580, 525, (7, 5)
_ROCM = 7


class Machine(NamedTuple):
    """The inspected parts of a machine; tests replace them."""

    root: Path = Path("/")
    environ: Mapping[str, str] = os.environ
    system: str = platform.system()
    architecture: str = platform.machine()
    cuda: str = "libcuda.so.1"  # comes with the driver


class Found(NamedTuple):
    """A back end by the name of its lock, with the reason."""

    backend: str
    reason: str


def detect(machine: Machine) -> Found:
    """Returns the back end of the first usable accelerator, or `cpu`.

    The reason names a device that exists but cannot be used.
    """
    if machine.system != "Linux":
        return Found("cpu", f"on {machine.system} there is no lock for accelerators")
    found = [f for look in (_nvidia, _amd, _tpu) if (f := look(machine)) is not None]
    if not found:
        return Found("cpu", "no accelerator was found")
    usable = [f for f in found if f.backend != "cpu"]
    return usable[0] if usable else Found("cpu", "; ".join(f.reason for f in found))


def _nvidia(machine: Machine) -> Found | None:
    """By the driver; of a GPU that CUDA 13 left behind, CUDA 12."""
    driver, capabilities = _nvidia_smi(machine)
    if driver is None and not _has_nvidia_device(machine):
        return None
    driver = driver or _loaded_nvidia_driver(machine)
    if machine.architecture not in ("x86_64", "aarch64"):
        return Found("cpu", f"there is no CUDA lock for {machine.architecture}")
    if driver is None:
        return _by_cuda(machine)
    major, reason = int(driver.split(".")[0]), f"NVIDIA driver {driver}"
    if major < _CUDA_12_DRIVER:
        return Found("cpu", f"{reason} is older than {_CUDA_12_DRIVER}, which CUDA 12 needs")
    if major < _CUDA_13_DRIVER:
        return Found("cuda12", reason)
    if capabilities and min(capabilities) < _CUDA_13_CAPABILITY:
        oldest = "{}.{}".format(*min(capabilities))
        return Found("cuda12", f"{reason}, but a GPU of compute capability {oldest}")
    return Found("cuda13", reason)


def _by_cuda(machine: Machine) -> Found:
    """Where a container shows no more of the driver than the library that programs need."""
    version = ctypes.c_int()
    try:
        failed = ctypes.CDLL(machine.cuda).cuDriverGetVersion(ctypes.byref(version))
    except (OSError, AttributeError):
        failed = True
    if failed:
        return Found("cpu", "there is an NVIDIA device, but its driver's version is unknown")
    major, minor = version.value // 1000, version.value % 1000 // 10
    reason = f"an NVIDIA driver for CUDA {major}.{minor}"
    if major < 12:
        return Found("cpu", f"{reason} is older than CUDA 12 needs")
    return Found("cuda13" if major > 12 else "cuda12", reason)


def _nvidia_smi(machine: Machine) -> tuple[str | None, list[tuple[int, int]]]:
    """Returns the driver's version and the compute capabilities of all GPUs, if known."""
    folders = machine.environ.get("PATH", os.defpath), str(machine.root / "usr/lib/wsl/lib")
    try:
        done = subprocess.run(
            ["nvidia-smi", "--query-gpu=driver_version,compute_cap", "--format=csv,noheader"],
            env={**machine.environ, "PATH": os.pathsep.join(folders)},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_TIMEOUT_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None, []
    told = done.stdout.decode(errors="replace")
    lines = re.findall(r"^(\d{3,4}\.[\d.]+)\s*,\s*(\d+)\.(\d+)\s*$", told, re.MULTILINE)
    return (lines[0][0] if lines else None), [(int(major), int(minor)) for _, major, minor in lines]


def _loaded_nvidia_driver(machine: Machine) -> str | None:
    found = re.search(
        r"Kernel Module\D.*?\s(\d{3,4}\.[\d.]+)\s",
        _text(machine.root / "proc/driver/nvidia/version"),
    )
    return found and found[1]


def _has_nvidia_device(machine: Machine) -> bool:
    """A container may see the driver of its host without a device."""
    return any((machine.root / "dev").glob("nvidia[0-9]*"))


def _amd(machine: Machine) -> Found | None:
    if not (machine.root / "dev/kfd").exists():
        return None
    if machine.architecture != "x86_64":
        return Found("cpu", f"there is no ROCm lock for {machine.architecture}")
    folders = [*(machine.root / "opt").glob("rocm*")]
    if named := machine.environ.get("ROCM_PATH"):
        folders.append(Path(named))
    told = (re.match(r"\d+\.[\d.]*\d", _text(folder / ".info" / "version")) for folder in folders)
    versions = sorted({found[0] for found in told if found})
    for version in versions:
        if version.startswith(f"{_ROCM}."):
            return Found("rocm7", f"an AMD device and ROCm {version}")
    there = f"ROCm {', '.join(versions)}" if versions else "no ROCm in /opt or ROCM_PATH"
    return Found("cpu", f"there is an AMD device, but {there}: ROCm {_ROCM} is needed")


def _tpu(machine: Machine) -> Found | None:
    """By PCI; in a container without it, by a device file where the host is told to be a TPU VM."""
    pci = (machine.root / "sys/bus/pci/devices").glob("*/vendor")
    has_chip = any(
        _text(f).strip() == _GOOGLE and _text(f.with_name("device")).strip() in _TPUS for f in pci
    )
    dev = machine.root / "dev"
    has_file = any([*dev.glob("accel[0-9]*"), *dev.glob("vfio/[0-9]*")])
    is_told = any(name.startswith("TPU_") for name in machine.environ)
    if not (has_chip or (has_file and is_told)):
        return None
    if machine.architecture != "x86_64":
        return Found("cpu", f"there is no TPU lock for {machine.architecture}")
    return Found("tpu", "this is a TPU VM")


def _text(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""


if __name__ == "__main__":
    print(*detect(Machine()), sep="\n")
