"""Fuzzes a reader in a process of its own."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

from benchmarks.fuzz import targets
from mlpf_jax import processes

_PATIENCE_S = 300  # for the start and the end on a busy machine, besides the seconds


def run(name: str, folder: Path, seconds: int) -> int:
    """Returns the exit status: not 0 if something was found."""
    inputs = folder / "inputs"
    inputs.mkdir(exist_ok=True)
    for i, path in enumerate(targets.seeds(name)):
        shutil.copyfile(path, inputs / f"seed-{i}")
    command = [sys.executable, "-m", "benchmarks.fuzz", f"--one={name}", f"--out={folder}"]
    try:
        return processes.status_of(
            [*command, f"--seconds={seconds}"],
            log=folder / "log.txt",
            folder=targets.ROOT,
            timeout_s=seconds + _PATIENCE_S,
        )
    except subprocess.TimeoutExpired:  # it hangs where atheris' own limit does not reach
        return 1


def counts(folder: Path) -> tuple[str, str]:
    """Returns how many inputs there were, and how many branches they reached."""
    text = "\n".join(processes.tail(folder / "log.txt"))
    inputs = re.findall(r"number_of_executed_units: *(\d+)", text)
    branches = re.findall(r" cov: (\d+)", text)
    return inputs[-1] if inputs else "?", branches[-1] if branches else "?"
