"""Runs a module in a contender's own environment, in a new process with common settings."""

import importlib.util
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from benchmarks.peers import contender as contender_lib
from mlpf_jax import processes as processes_lib
from mlpf_jax.sides import driver

ROOT = Path(__file__).parent.parent.parent
_LAST_LINES = 5  # number of shown lines of a failed process


def interpreter(name: str) -> Path:
    """Returns the Python of a contender.

    Raises:
        ValueError: if there is no such contender, or neither an environment of its own nor its
            package in ours.
    """
    if name not in contender_lib.ENTRIES:
        known = ", ".join(contender_lib.ENTRIES)
        raise ValueError(f"unknown contender {name}: use {known}.")
    environment = contender_lib.ENTRIES[name].environment
    if environment is None:
        return Path(sys.executable)
    python = ROOT / ".peers" / environment / "bin" / "python"
    if python.exists():
        return python
    if importlib.util.find_spec(contender_lib.ENTRIES[name].package) is not None:
        return Path(sys.executable)
    raise ValueError(f"{name} has no environment .peers/{environment} yet: run `make peers`.")


def surroundings(
    cache: Path, num_threads: int, device: contender_lib.Device = "cpu"
) -> dict[str, str]:
    """Returns the environment variables of a contender, with its own caches in `cache`."""
    # On a GPU each takes the memory that it needs, because others are alive.
    own = {"XLA_PYTHON_CLIENT_PREALLOCATE": "false", "TF_FORCE_GPU_ALLOW_GROWTH": "true"}
    return ({} if device == "cpu" else own) | {
        "JAX_PLATFORMS": "cpu" if device == "cpu" else "",  # empty: what JAX finds
        "OMP_NUM_THREADS": str(num_threads),
        "TF_CPP_MIN_LOG_LEVEL": "3",
        "TORCHINDUCTOR_CACHE_DIR": str(cache / "inductor"),
        "TRITON_CACHE_DIR": str(cache / "triton"),
        "PYTHONHASHSEED": "0",
        "PYTHONWARNINGS": "default",
    }


def side(
    name: str, arguments: Sequence[str], variables: Mapping[str, str], log: Path, limit_s: float
) -> driver.Side:
    """Returns a contender as a side of a comparison."""
    return driver.Side(
        name=name,
        command=[str(interpreter(name)), "-m", "benchmarks.peers.worker", *arguments],
        folder=ROOT,
        environ=_environment(name, variables),
        log=log,
        limit_s=limit_s,
    )


def run(
    name: str, module: str, arguments: Sequence[str], variables: Mapping[str, str], timeout_s: float
) -> str:
    """Runs `python -m module arguments` for a contender and returns what it printed.

    Anything that ends this process or the wait also ends the other process and its children.

    Raises:
        ValueError: as `interpreter`.
        RuntimeError: if it fails or times out; the message contains its last lines.
    """
    command = [str(interpreter(name)), "-m", module, *arguments]
    with subprocess.Popen(
        command,
        cwd=ROOT,
        env=_environment(name, variables),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        try:
            # PyTorch compiles in processes of its own, which it may leave behind.
            with processes_lib.ended(process):
                out, errors = process.communicate(timeout=timeout_s)
        except subprocess.TimeoutExpired:
            raise RuntimeError(
                f"{name} took longer than {timeout_s:.0f} s and was ended."
            ) from None
    if process.returncode:
        lines = "\n".join(errors.strip().splitlines()[-_LAST_LINES:])
        raise RuntimeError(f"{name} failed with status {process.returncode}:\n{lines}")
    return out


def _environment(name: str, variables: Mapping[str, str]) -> dict[str, str]:
    """XLA's flags are for ours only: the XLA inside of TensorFlow aborts at unknown flags."""
    inherited = dict(os.environ)
    if name not in contender_lib.OWN:
        inherited.pop("XLA_FLAGS", None)
    return inherited | dict(variables)
