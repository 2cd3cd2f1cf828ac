"""The environment of a run: versions, machine, commit. Unknown values are None."""

import dataclasses
import os
import platform
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

from mlpf_jax.measure import surroundings

PACKAGE = Path(__file__).resolve().parents[1]
_PACKAGES = (
    "mlpf_jax",
    "jax",
    "jaxlib",
    "flax",
    "optax",
    "orbax-checkpoint",
    "numpy",
    "scipy",
    "jax-cuda12-plugin",
    "jax-cuda13-plugin",
    "jax-rocm7-plugin",
    *(f"jax-{runtime}-pjrt" for runtime in ("cuda12", "cuda13", "rocm7")),
    "libtpu",
    # What computes on an NVIDIA GPU, and the assembler. For CUDA 13 some names have no suffix.
    *(
        f"nvidia-{name}{suffix}"
        for name in ("cuda-runtime", "cuda-nvcc", "cublas", "cudnn", "nccl")
        for suffix in ("-cu12", "-cu13", "")
    ),
)


def describe() -> dict[str, Any]:
    """Describes this machine and installation, without user names and paths."""
    return {
        "versions": versions(),
        "git_commit": _git("rev-parse", "HEAD"),
        "git_is_dirty": _is_dirty(),
        "cpu": _cpu_model(),
        "num_cpu_cores": os.cpu_count(),
        "memory_bytes": _memory_bytes(),
        "system": platform.system(),
        "kernel": platform.release(),
        "machine": platform.machine(),
        "surroundings": dataclasses.asdict(surroundings.read()),
        "load_average": list(os.getloadavg()) if hasattr(os, "getloadavg") else None,
    }


def versions() -> dict[str, str]:
    """Returns the versions of Python and of the relevant installed packages."""
    found = {"python": sys.version.split()[0]}
    for name in _PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def _git(*arguments: str) -> str | None:
    """Runs git in the checkout that contains the package, if there is one."""
    if not (PACKAGE.parent / ".git").exists():
        return None
    try:
        done = subprocess.run(
            ["git", "-C", str(PACKAGE.parent), *arguments],
            capture_output=True,
            text=True,
            timeout=10,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


def _is_dirty() -> bool | None:
    status = _git("status", "--porcelain", "--untracked-files=no")
    return None if status is None else bool(status)


def _cpu_model() -> str | None:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or None
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or None


def _memory_bytes() -> int | None:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (OSError, ValueError, AttributeError):
        return None
