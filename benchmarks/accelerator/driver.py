"""Runs stages within a budget of time and keeps what each of them found. Independent of JAX."""

import dataclasses
import json
import shutil
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Literal

from benchmarks.accelerator import stages as stages_lib
from mlpf_jax import atomic
from mlpf_jax.study import running

ROOT = Path(__file__).parents[2]
PATIENCE = 4.0  # with a stage, in estimates of its time
_SHORTEST_S = 120.0  # the same for short ones
_ENDING_S = 12.0  # of the budget are left for a process that is told to end

State = Literal["done", "failed", "cut", "skipped"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Outcome:
    """How a stage ended. `cut`: its time or the budget ended before it did."""

    state: State
    reason: str = ""
    seconds: float = 0.0
    command: tuple[str, ...] = ()


class Budget:
    """The time that is left of a number of seconds."""

    def __init__(self, seconds: float, clock: Callable[[], float] = time.monotonic):
        self._clock, self._end = clock, clock() + seconds

    def now(self) -> float:
        """Returns the time of the clock."""
        return self._clock()

    def left_s(self) -> float:
        """Returns the seconds that a stage may take, which may be negative."""
        return self._end - _ENDING_S - self._clock()


# Runs a module with arguments in a folder, with a timeout and additions to the environment.
Runner = Callable[..., running.Outcome]


def read(stage: stages_lib.Stage, out: Path) -> Outcome | None:
    """Returns how a stage ended in an earlier call; None if it has not run."""
    try:
        found: dict[str, Any] = json.loads(_record(stage, out).read_text())
        return Outcome(**found | {"command": tuple(found["command"])})
    except (OSError, ValueError, TypeError, KeyError):
        return None


def is_done(stage: stages_lib.Stage, out: Path) -> bool:
    """Whether the stage has succeeded, and its result is there."""
    before = read(stage, out)
    return before is not None and before.state == "done" and stage.result(out).exists()


def run_all(
    stages: Iterable[stages_lib.Stage],
    out: Path,
    budget: Budget,
    tell: Callable[[str], None],
    *,
    environ: Mapping[str, str],
    patience: float = PATIENCE,
    runner: Runner = running.run_main,
) -> None:
    """Runs the stages that are not done: first those that have not failed before.

    A stage is ended after `patience` times its estimate, or when the budget ends.
    """
    left = [stage for stage in stages if not is_done(stage, out)]
    for stage in sorted(left, key=lambda stage: _has_failed(stage, out)):
        outcome = _run(stage, out, budget, tell, environ, patience, runner)
        if outcome.state != "skipped" or not _has_failed(stage, out):  # the failure is still true
            _keep(stage, out, outcome)
        reason = f": {outcome.reason}" if outcome.reason else ""
        tell(f"{stage.name}: {outcome.state} in {outcome.seconds:.0f} s{reason}")


def _has_failed(stage: stages_lib.Stage, out: Path) -> bool:
    before = read(stage, out)
    return before is not None and before.state == "failed"


def _run(
    stage: stages_lib.Stage,
    out: Path,
    budget: Budget,
    tell: Callable[[str], None],
    environ: Mapping[str, str],
    patience: float,
    runner: Runner,
) -> Outcome:
    left_s = budget.left_s()
    if stage.cannot:
        return Outcome(state="skipped", reason=stage.cannot)
    if stage.estimate_s > left_s:
        needed = f"needs about {stage.estimate_s:.0f} s, and {max(0, left_s):.0f} s are left"
        return Outcome(state="skipped", reason=needed)
    try:
        arguments = stage.command(out)
    except LookupError as error:
        return Outcome(state="skipped", reason=str(error.args[0]))
    folder = stage.folder(out)
    shutil.rmtree(folder, ignore_errors=True)  # of a run that failed or was cut
    folder.mkdir(parents=True)
    tell(f"{stage.name}: about {stage.estimate_s:.0f} s of {left_s:.0f} s")
    started = budget.now()
    timeout_s = min(left_s, max(_SHORTEST_S, patience * stage.estimate_s))
    ended = runner(
        arguments,
        folder,
        timeout_s=timeout_s,
        module=stage.module,
        environ={**environ, **stage.environ},
        root=ROOT,
    )
    seconds = budget.now() - started
    return Outcome(
        state=_state(ended, seconds, timeout_s, stage.result(out)),
        reason="" if ended.status == 0 else ended.last_line,
        seconds=seconds,
        command=(stage.module, *arguments),
    )


def _state(ended: running.Outcome, seconds: float, timeout_s: float, result: Path) -> State:
    if ended.status and seconds >= timeout_s:
        return "cut"
    return "done" if ended.status == 0 and result.exists() else "failed"


def _keep(stage: stages_lib.Stage, out: Path, outcome: Outcome) -> None:
    path = _record(stage, out)
    path.parent.mkdir(exist_ok=True)
    atomic.write_file(path, (json.dumps(dataclasses.asdict(outcome), indent=1) + "\n").encode())


def _record(stage: stages_lib.Stage, out: Path) -> Path:
    return out / "outcomes" / f"{stage.name}.json"
