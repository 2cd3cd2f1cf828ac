"""Watches a run from outside, and compares the second quarter of its time with the last."""

import csv
import statistics
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from mlpf_jax import processes
from mlpf_jax.measure import linux

_INTERVAL_S = 1.0
# Allowed growth from the second quarter to the last: a share, and an amount.
_ALLOWED = {
    "memory_mib": (0.05, 32.0),  # the record of all steps grows with them
    "descriptors": (0.0, 2.0),
    "threads": (0.0, 2.0),
    "step_s": (0.2, 0.0),
}
_TITLES = {
    "memory_mib": "resident memory (MiB)",
    "descriptors": "open descriptors",
    "threads": "threads",
    "step_s": "seconds per step, each sample",
}


class Observation(NamedTuple):
    """The process at one time."""

    time_s: float
    memory_mib: float
    descriptors: int
    threads: int


def watch(out: Path, num_epochs: int) -> tuple[int, list[Observation]]:
    """Runs the benchmark to its end; returns its exit status and the observations."""
    command = [sys.executable, "-m", "mlpf_jax.main", "--preset=smoke", "--quiet"]
    command += [f"--num_epochs={num_epochs}", "--checkpoint_every=25"]
    command += [f"--checkpoint_dir={out / 'checkpoints'}", f"--results_dir={out}"]
    seen: list[Observation] = []
    start = time.monotonic()
    with (out / "log.txt").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
        with processes.ended(process):
            while process.poll() is None:
                time.sleep(_INTERVAL_S)
                now = _observe(Path("/proc") / str(process.pid), time.monotonic() - start)
                seen += [now] if now else []
            return process.wait(), seen


def _observe(place: Path, time_s: float) -> Observation | None:
    status = linux.fields(place / "status")
    memory = linux.kib(status.get("VmRSS"))
    if memory is None:  # it has just ended
        return None
    try:
        descriptors = len(list((place / "fd").iterdir()))
    except OSError:
        return None
    return Observation(time_s, memory / 2**20, descriptors, int(status["Threads"]))


def series(seen: Sequence[Observation], training: Mapping) -> dict[str, list[float]]:
    """Returns each quantity over the time of training, which is nearly all of the run."""
    lasts_s = sum(training["sample_s"])
    begins_s = seen[-1].time_s - lasts_s if seen else 0.0
    while_training = [one for one in seen if one.time_s >= begins_s]
    pairs = zip(training["sample_s"], training["sample_steps"], strict=True)
    return {
        "memory_mib": [one.memory_mib for one in while_training],
        "descriptors": [one.descriptors for one in while_training],
        "threads": [one.threads for one in while_training],
        "step_s": [seconds / steps for seconds, steps in pairs],
    }


def judge(found: Mapping[str, Sequence[float]]) -> list[str]:
    """Prints each quantity in the second and the last quarter; returns those that grew."""
    grown = []
    for name, values in found.items():
        quarter = len(values) // 4
        if not quarter:
            raise ValueError(f"{name}: too few observations.")
        before = statistics.median(values[quarter : 2 * quarter])
        after = statistics.median(values[-quarter:])
        share, amount = _ALLOWED[name]
        is_grown = after > before * (1 + share) + amount
        print(f"{name:12} {before:10.4g} {after:10.4g}  {'GREW' if is_grown else 'flat'}")
        grown += [name] if is_grown else []
    return grown


def plot(path: Path, found: Mapping[str, Sequence[float]]) -> None:
    """Draws each quantity over the time of training, as a share of it. Needs matplotlib."""
    from matplotlib import figure

    drawing = figure.Figure(figsize=(7, 6), layout="constrained")
    for axes, (name, values) in zip(drawing.subplots(2, 2).flat, found.items(), strict=True):
        axes.plot([i / len(values) for i in range(len(values))], values, ".", markersize=2)
        axes.set(title=_TITLES[name], xlabel="share of the training", ylim=(0, 1.3 * max(values)))
    drawing.savefig(path, dpi=80)


def write(path: Path, seen: Sequence[Observation]) -> None:
    """Writes all observations as CSV."""
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(Observation._fields)
        writer.writerows(seen)
