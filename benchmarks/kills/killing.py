"""One run of the benchmark that is killed at random times until it is left to end."""

import collections
import dataclasses
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from mlpf_jax import processes
from mlpf_jax.report import hepscore, incomplete

ROOT = Path(__file__).parents[2]
DIGESTS = ("loss_sha256", "params_sha256", "batch_sha256")
_TIMEOUT_S = 900.0
# The phase of a kill, by what the run said last.
_PHASES = (
    (r"^$", "start"),
    ("simulating", "simulating"),
    ("SHA-256", "simulating"),
    ("drawing", "drawing weights"),
    ("compil", "compiling"),
    ("checkpoint left out|resuming", "compiling"),
    (r"^(training|epoch)", "training, validating"),
    ("inference", "inferring, reporting"),
)
_SAVING = "saving"


@dataclasses.dataclass(frozen=True)
class Plan:
    """How runs are made. The folder has the compilation cache that they share."""

    arguments: tuple[str, ...]  # of the benchmark
    folder: Path
    whole_s: float  # of an undisturbed run
    kills_per_run: int

    def command(self, place: Path) -> list[str]:
        """Returns the command of a run with its files in `place`."""
        return [
            *(sys.executable, "-m", "mlpf_jax.main", *self.arguments),
            *("--nomeasure_compile", f"--compilation_cache={self.folder / 'cache'}"),
            *(f"--data_dir={place / 'events'}", f"--checkpoint_dir={place / 'checkpoints'}"),
            f"--results_dir={place / 'results'}",
        ]


@dataclasses.dataclass(frozen=True)
class Kill:
    """A signal that ended a process."""

    phase: str
    signal: str
    status: int
    seconds: float  # from the signal until the process had ended
    problem: str | None  # what should not have happened


@dataclasses.dataclass(frozen=True)
class Outcome:
    """A run that was killed and resumed until its end."""

    kills: tuple[Kill, ...]
    digests: Mapping[str, str]
    segments: tuple[Mapping[str, Any], ...]
    problem: str | None


def undisturbed(plan: Plan) -> Mapping[str, str]:
    """Runs once without a kill; returns the digests.

    Raises:
        processes.RunFailedError: if it fails.
    """
    with tempfile.TemporaryDirectory(dir=plan.folder) as name:
        place = Path(name)
        command = [word for word in plan.command(place) if "checkpoint" not in word]
        processes.run(
            command, folder=ROOT, environ=os.environ, log=place / "log", timeout_s=_TIMEOUT_S
        )
        return _stats(place)["digests"]


def run(plan: Plan, rng: random.Random, say: Callable[[Kill], None]) -> Outcome:
    """Kills a run `plan.kills_per_run` times at random times, and lets it end."""
    place = Path(tempfile.mkdtemp(dir=plan.folder))
    kills: list[Kill] = []
    try:
        while len(kills) < plan.kills_per_run:
            number = rng.choice([signal.SIGKILL, signal.SIGTERM])
            kill = _run_and_kill(plan, place, rng.uniform(0.0, plan.whole_s), number)
            if kill is None:
                break  # it ended before
            kills.append(kill)
            say(kill)
        else:
            processes.run(
                plan.command(place),
                folder=ROOT,
                environ=os.environ,
                log=place / "log",
                timeout_s=_TIMEOUT_S,
            )
        found = _stats(place)
        return Outcome(tuple(kills), found["digests"], tuple(found["segments"]), None)
    except (processes.RunFailedError, OSError, ValueError) as error:
        lines = getattr(error, "last_lines", ())
        return Outcome(tuple(kills), {}, (), " | ".join([str(error), *lines[-2:]]))
    finally:
        shutil.rmtree(place, ignore_errors=True)


def _run_and_kill(plan: Plan, place: Path, delay_s: float, number: signal.Signals) -> Kill | None:
    """Starts the run, kills it after a time, and checks what it leaves; None if it ended before."""
    with (
        (place / "log").open("wb") as log,
        subprocess.Popen(plan.command(place), cwd=ROOT, stdout=log, stderr=log) as process,
    ):
        try:
            process.wait(delay_s)
        except subprocess.TimeoutExpired:
            phase = _phase(place)
            process.send_signal(number)
            start = time.monotonic()
            status = process.wait(_TIMEOUT_S)
            seconds = time.monotonic() - start
        else:
            if process.returncode:
                raise processes.RunFailedError(
                    f"ended with status {process.returncode}", processes.last_lines(place / "log")
                )
            return None
    return Kill(phase, number.name, status, seconds, _problem(place, number, status))


def _phase(place: Path) -> str:
    if any("tmp" in path.name for path in (place / "checkpoints").glob("*")):
        return _SAVING
    said = (place / "log").read_text(errors="replace").splitlines()
    last = re.sub(r"^\[[0-9:]+\] ", "", said[-1]) if said else ""
    return next((phase for pattern, phase in _PHASES if re.search(pattern, last)), "other")


def _problem(place: Path, number: signal.Signals, status: int) -> str | None:
    """Returns what a killed process did wrong."""
    said = (place / "log").read_text(errors="replace")
    if "Traceback" in said:
        return "printed a traceback"
    if number == signal.SIGKILL:
        return None if status in (-number, 0) else f"status {status}"
    if status == -number:  # before the program could install its handler
        return None if not said else "died of the signal"
    if status not in (143, 0):
        return f"status {status}"
    report = place / "results" / incomplete.FILE_NAME
    if report.exists():
        json.loads(report.read_text())
    return None


def _stats(place: Path) -> dict[str, Any]:
    document = json.loads((place / "results" / hepscore.FILE_NAME).read_text())
    stats = document["report"]["wl-stats"]
    return {
        "digests": {name: stats[name] for name in DIGESTS},
        "segments": stats["segments"],
    }


def table(outcomes: Sequence[Outcome]) -> str:
    """Returns the number of kills by phase and signal."""
    counts = collections.Counter(
        (kill.phase, kill.signal) for outcome in outcomes for kill in outcome.kills
    )
    phases = sorted({phase for phase, _ in counts})
    lines = [f"{'phase':<24} SIGKILL SIGTERM"]
    lines += [
        f"{phase:<24} {counts[phase, 'SIGKILL']:7} {counts[phase, 'SIGTERM']:7}" for phase in phases
    ]
    return "\n".join(lines)
