"""One run of the benchmark that is killed at random times until it is left to end."""

import collections
import dataclasses
import itertools
import json
import os
import random
import re
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.kills import forking
from mlpf_jax import processes
from mlpf_jax.report import hepscore, incomplete

ROOT = Path(__file__).parents[2]
DIGESTS = ("loss_sha256", "params_sha256", "batch_sha256")
_TIMEOUT_S = 900.0
# The phase of a kill of a fresh process, by what the run said last.
_PHASES = (
    (r"^$", "starting"),
    ("simulating", "simulating"),
    ("SHA-256", "simulating"),
    ("drawing", "drawing weights"),
    ("compil", "compiling"),
    ("checkpoint left out|resuming", "compiling"),
    (r"^(training|epoch)", "training"),
    ("inference", "inferring"),
)
_SHARE_FRESH = 0.02  # of all processes, because one takes as long as ten others
# Phases by how they follow each other over the processes of a run: once the events are simulated,
# they stay, once there is a checkpoint no weights are drawn, and after the last epoch there is no
# training. Simulating takes longest.
_FIRST, _LAST = ("simulating", "drawing weights"), ("inferring", "reporting")
_WEIGHTS = {"simulating": 0.3}
# How often a phase may be entered before the kill.
_MOST_OFTEN = {"compiling": 2, "training": 2, "validating": 2, "saving": 2}


@dataclasses.dataclass(frozen=True)
class Plan:
    """How runs are made. The folder has the compilation cache and the events that they share."""

    arguments: tuple[str, ...]  # of the benchmark
    folder: Path
    environ: Mapping[str, str]  # of fresh processes
    kills_per_run: int
    nursery: forking.Nursery
    whole_s: float = 0.0  # of an undisturbed run
    longest_s: Mapping[str, float] = dataclasses.field(default_factory=dict)  # of a phase

    def flags(self, place: Path, events: Path) -> list[str]:
        """Returns the arguments of a run with its files in `place`."""
        return [
            *self.arguments,
            *("--nomeasure_compile", f"--compilation_cache={self.folder / 'cache'}"),
            *(f"--data_dir={events}", f"--checkpoint_dir={place / 'checkpoints'}"),
            f"--results_dir={place / 'results'}",
        ]


@dataclasses.dataclass(frozen=True)
class Kill:
    """A signal that ended a process."""

    phase: str
    signal: str
    is_fresh: bool  # a process of its own, and not a fork
    status: int
    seconds: float  # from the signal until the process had ended
    saved_s: float | None  # from the signal until a save that followed it; None without one
    problem: str | None  # what should not have happened


@dataclasses.dataclass(frozen=True)
class Outcome:
    """A run that was killed and resumed until its end."""

    kills: tuple[Kill, ...]
    digests: Mapping[str, str]
    segments: tuple[Mapping[str, Any], ...]
    problem: str | None


def outcome(one: Mapping[str, Any]) -> Outcome:
    """Returns the outcome that was written as JSON."""
    kills = tuple(Kill(**kill) for kill in one["kills"])
    return Outcome(kills, one["digests"], tuple(one["segments"]), one["problem"])


def undisturbed(plan: Plan) -> tuple[Plan, Mapping[str, str]]:
    """Runs without a kill: in a fork, which fills the memory, in a fresh process, in a fork again.

    Returns the plan with the durations, and the digests. The fork is the first, because XLA (jaxlib
    0.10.2) cannot serialise a program that it has loaded from the compilation cache. The second one
    shows how long the phases take that are not remembered, with that cache.

    Raises:
        processes.RunFailedError: if one fails, or they differ.
    """
    first, expected = _whole_fork(plan, plan.folder, forget_from=None)
    plan.nursery.memory = first.memory
    start = time.monotonic()
    fresh = _whole_process(plan)
    whole_s = 1.2 * (time.monotonic() - start)
    again, cached = _whole_fork(plan, None, forget_from="starting")
    if not expected == fresh == cached:
        raise processes.RunFailedError(
            f"a fork, a process and a second fork end with different bits: {expected}, {fresh}, "
            f"{cached}"
        )
    return dataclasses.replace(plan, whole_s=whole_s, longest_s=_longest(again)), expected


def _whole_fork(
    plan: Plan, events: Path | None, *, forget_from: str | None
) -> tuple[forking.Running, dict[str, str]]:
    """Runs in a fork, with the events in a folder or with its own; returns it and its digests."""
    with tempfile.TemporaryDirectory(dir=plan.folder) as folder:
        place = Path(folder)
        flags = plan.flags(place, (events or place) / "events")
        running = plan.nursery.start(flags, place / "log", forget_from=forget_from)
        _check_end(running.wait(_TIMEOUT_S), place)
        return running, _stats(place)["digests"]


def _whole_process(plan: Plan) -> dict[str, str]:
    """Runs in a fresh process; returns its digests."""
    with tempfile.TemporaryDirectory(dir=plan.folder) as folder:
        place = Path(folder)
        processes.run(
            [sys.executable, "-m", "mlpf_jax.main", *plan.flags(place, plan.folder / "events")],
            folder=ROOT,
            environ=plan.environ,
            log=place / "log",
            timeout_s=_TIMEOUT_S,
        )
        return _stats(place)["digests"]


def _longest(running: forking.Running) -> dict[str, float]:
    """Returns the longest stay in every phase."""
    longest: dict[str, float] = collections.defaultdict(float)
    entered = zip(running.entered, running.times, strict=True)
    for (phase, start), (_, end) in itertools.pairwise(entered):
        longest[phase] = max(longest[phase], end - start)
    return dict(longest)


def run(plan: Plan, rng: random.Random, say: Callable[[Kill], None]) -> Outcome:
    """Kills a run up to `plan.kills_per_run` times at random times, and lets it end."""
    place = Path(tempfile.mkdtemp(dir=plan.folder))
    targets = _targets(rng, plan.kills_per_run)
    events = place if set(_FIRST) & set(targets) else plan.folder
    flags = plan.flags(place, events / "events")
    kills: list[Kill] = []
    try:
        for kill in _kill_each(plan, rng, flags, place, targets):
            kills.append(kill)
            say(kill)
        found = _stats(place)
        return Outcome(tuple(kills), found["digests"], tuple(found["segments"]), None)
    except (processes.RunFailedError, OSError, ValueError) as error:
        lines = getattr(error, "last_lines", ())
        return Outcome(tuple(kills), {}, (), " | ".join([str(error), *lines[-2:]]))
    finally:
        shutil.rmtree(place, ignore_errors=True)


def _targets(rng: random.Random, number: int) -> list[str]:
    """Draws the phases to kill a run in, in an order in which they can be reached."""
    phases = list(forking.PHASES)
    drawn = rng.choices(phases, [_WEIGHTS.get(phase, 1.0) for phase in phases], k=number)
    first = {phase: rank for rank, phase in enumerate(_FIRST)}
    return sorted(drawn, key=lambda phase: first.get(phase, len(first) + (phase in _LAST)))


def _kill_each(
    plan: Plan, rng: random.Random, flags: Sequence[str], place: Path, targets: Sequence[str]
) -> Iterator[Kill]:
    """Kills a process in every phase and yields that, until one ends by itself."""
    for target in targets:
        if (place / "checkpoints" / "complete").exists():  # killed after it had written its report
            return
        number = rng.choice([signal.SIGKILL, signal.SIGTERM])
        if rng.random() < _SHARE_FRESH:
            kill = _kill_fresh(plan, flags, place, rng.uniform(0.0, plan.whole_s), number)
        else:
            kill = _kill_fork(plan, rng, flags, place, target, number)
        if kill is None:  # it ended before
            return
        yield kill
    if (place / "checkpoints" / "complete").exists():
        return
    running = plan.nursery.start(flags, place / "log", forget_from="training")
    _check_end(running.wait(_TIMEOUT_S), place)


def _kill_fresh(
    plan: Plan, flags: Sequence[str], place: Path, delay_s: float, number: signal.Signals
) -> Kill | None:
    """Starts the run, kills it after a time, and checks what it leaves; None if it ended before."""
    command = [sys.executable, "-m", "mlpf_jax.main", *flags]
    with (
        (place / "log").open("wb") as log,
        subprocess.Popen(command, cwd=ROOT, env=plan.environ, stdout=log, stderr=log) as process,
    ):
        try:
            process.wait(delay_s)
        except subprocess.TimeoutExpired:
            phase = _said_phase(place)
            process.send_signal(number)
            start = time.monotonic()
            status = process.wait(_TIMEOUT_S)
            seconds = time.monotonic() - start
        else:
            _check_end(process.returncode, place)
            return None
    if status == 0:  # the signal came too late
        return None
    problem = _problem(place, number, status)
    return Kill(phase, number.name, True, status, seconds, None, problem)


def _kill_fork(
    plan: Plan,
    rng: random.Random,
    flags: Sequence[str],
    place: Path,
    target: str,
    number: signal.Signals,
) -> Kill | None:
    """As `_kill_fresh`, at a random time after a fork of the run has entered the phase `target`."""
    running = plan.nursery.start(flags, place / "log", forget_from=target)
    often = rng.randint(1, _MOST_OFTEN.get(target, 1))

    def skips() -> bool:  # a run with a checkpoint draws no weights
        return target in _FIRST and "compiling" in running.entered

    running.listen(_TIMEOUT_S, lambda: running.entered.count(target) >= often or skips())
    running.listen(rng.uniform(0.0, plan.longest_s.get(target, 0.0)))
    if not running.is_running():
        _check_end(running.wait(_TIMEOUT_S), place)
        return None
    phase, before = running.entered[-1], len(running.entered)
    start = time.monotonic()
    os.kill(running.pid, number)
    status = running.wait(_TIMEOUT_S)
    seconds = time.monotonic() - start
    if status == 0:
        return None
    later = list(zip(running.entered, running.times, strict=True))[before - 1 :]
    saves = [end for (one, _), (_, end) in itertools.pairwise(later) if one == "saving"]
    saved_s = saves[-1] - start if saves else None
    problem = _problem(place, number, status)
    return Kill(phase, number.name, False, status, seconds, saved_s, problem)


def _check_end(status: int | None, place: Path) -> None:
    if status:
        raise processes.RunFailedError(
            f"ended with status {status}", processes.last_lines(place / "log")
        )


def _said_phase(place: Path) -> str:
    if any("tmp" in path.name for path in (place / "checkpoints").glob("*")):
        return "saving"
    said = (place / "log").read_text(errors="replace").splitlines()
    last = re.sub(r"^\[[0-9:]+\] ", "", said[-1]) if said else ""
    return next((phase for pattern, phase in _PHASES if re.search(pattern, last)), "reporting")


def _problem(place: Path, number: signal.Signals, status: int) -> str | None:
    """Returns what a killed process did wrong."""
    said = (place / "log").read_text(errors="replace")
    if "Traceback" in said:
        return "printed a traceback"
    if number == signal.SIGKILL:
        return None if status == -number else f"status {status}"
    # Before the program could install its handler, or after it had removed it.
    is_done = (place / "results" / hepscore.FILE_NAME).exists()
    if status == -number and (is_done or not said):
        return None
    if status != 143:
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
    """Returns the number of kills by phase, and how long SIGTERM took to save and to end."""
    kills = [kill for outcome in outcomes for kill in outcome.kills]
    found = {kill.phase for kill in kills}
    lines = [
        f"{'phase':<16} SIGKILL SIGTERM  fresh  saved after s (most)  ended after s (median, most)"
    ]
    for phase in [
        *(one for one in forking.PHASES if one in found),
        *sorted(found - {*forking.PHASES}),
    ]:
        here = [kill for kill in kills if kill.phase == phase]
        gentle = [kill for kill in here if kill.signal == "SIGTERM"]
        saved = [kill.saved_s for kill in gentle if kill.saved_s is not None]
        ended = sorted(kill.seconds for kill in gentle)
        lines.append(
            f"{phase:<16} {len(here) - len(gentle):7} {len(gentle):7} "
            f"{sum(kill.is_fresh for kill in here):6}  {max(saved, default=0.0):20.2f}  "
            + (f"{statistics.median(ended):.2f}, {ended[-1]:.2f}" if ended else "")
        )
    return "\n".join(lines)
