"""Runs stages within a budget of time and keeps what each of them found. Independent of JAX."""

import dataclasses
import json
import shutil
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Literal

from benchmarks.accelerator import stages as stages_lib
from mlpf_jax import atomic, errors
from mlpf_jax.measure import xla_flags
from mlpf_jax.study import running

ROOT = Path(__file__).parents[2]
PATIENCE = 4.0  # with a stage, in estimates of its time
_SHORTEST_S = 120.0  # the same for short ones
_ENDING_S = 12.0  # of the budget are left for a process that is told to end
_TEMPORARY_BYTES = 2**30  # free for the files of compilers, PyTorch and the profiler

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


def temporary_folder(out: Path) -> dict[str, str]:
    """Returns the variable for temporary files: in `out` if the system's folder is small."""
    try:
        if shutil.disk_usage(tempfile.gettempdir()).free >= _TEMPORARY_BYTES:
            return {}
    except OSError:
        pass  # there is none
    folder = out / "tmp"
    folder.mkdir(exist_ok=True)
    return {"TMPDIR": str(folder)}


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


def describe(
    first: stages_lib.Stage, out: Path, run: Callable[[stages_lib.Stage], None]
) -> dict[str, Any]:
    """Runs the stage that describes the devices, in every call anew, and returns what it found.

    Raises:
        ValueError: if the results in `out` are of other devices; its description stays.
        RuntimeError: if the stage fails; one line.
    """
    known = _facts(first, out)
    run(first)
    found, outcome = _facts(first, out), read(first, out)
    if found is None or outcome is None or outcome.state != "done":
        reason = outcome.reason if outcome else "not run"
        problem = RuntimeError(f"{first.name}: {reason or 'its result is damaged'}")
    elif known is not None and _named(known) != _named(found):
        problem = ValueError(
            f"--out={out} has results of {_named(known)}, and here is {_named(found)}. Choose "
            "another --out."
        )
    else:
        return found
    if known is not None:
        atomic.write_file(first.result(out), json.dumps(known, indent=1).encode())
    raise problem


def _facts(first: stages_lib.Stage, out: Path) -> dict[str, Any] | None:
    try:
        found = json.loads(first.result(out).read_text())
        _named(found)
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return found


def _named(facts: Mapping[str, Any]) -> str:
    return f"{facts['num_devices']} x {facts['device_kind']} ({facts['platform']})"


def run_all(
    stages: Iterable[stages_lib.Stage],
    out: Path,
    budget: Budget,
    tell: Callable[[str], None],
    *,
    environ: Mapping[str, str],
    patience: float = PATIENCE,
    runner: Runner = running.run_main,
    again: bool = False,
) -> None:
    """Runs the stages that are not done: first those that have not failed before.

    A stage is ended after `patience` times its estimate, or when the budget ends. One that was cut
    is run again if it gets more time than before. `again` also runs those that are done. If XLA has
    no kernel for a product, that stage is repeated, and all others run, without Triton's products.
    """
    left = [stage for stage in stages if again or not is_done(stage, out)]
    for stage in sorted(left, key=lambda stage: _was(stage, out, "failed")):
        outcome = _run(stage, out, budget, tell, environ, patience, runner)
        flags = environ.get("XLA_FLAGS", "")
        if errors.lacks_kernel(outcome.reason) and xla_flags.CUBLAS not in flags:
            tell(f"{stage.name}: {outcome.reason[:200]}. From now on with {xla_flags.CUBLAS}.")
            environ = {**environ, "XLA_FLAGS": f"{flags} {xla_flags.CUBLAS}".strip()}
            outcome = _run(stage, out, budget, tell, environ, patience, runner)
        if outcome.state != "skipped" or not _was(stage, out, "failed", "cut"):  # that is still so
            _keep(stage, out, outcome)
        reason = f": {outcome.reason}" if outcome.reason else ""
        tell(f"{stage.name}: {outcome.state} in {outcome.seconds:.0f} s{reason}")


def _was(stage: stages_lib.Stage, out: Path, *states: State) -> bool:
    before = read(stage, out)
    return before is not None and before.state in states


def _run(
    stage: stages_lib.Stage,
    out: Path,
    budget: Budget,
    tell: Callable[[str], None],
    environ: Mapping[str, str],
    patience: float,
    runner: Runner,
) -> Outcome:
    left_s, needed_s = budget.left_s(), _needed_s(stage, out)
    if stage.cannot:
        return Outcome(state="skipped", reason=stage.cannot)
    if needed_s > left_s:
        needed = f"needs about {needed_s:.0f} s, and {max(0, left_s):.0f} s are left"
        return Outcome(state="skipped", reason=needed)
    try:
        # Of a borrowed machine, `out` alone may come back: tracebacks go to the log there.
        arguments = [*stage.command(out), "--debug"]
    except LookupError as error:
        return Outcome(state="skipped", reason=str(error.args[0]))
    folder = stage.folder(out)
    shutil.rmtree(folder, ignore_errors=True)  # of a run that failed or was cut
    folder.mkdir(parents=True)
    tell(f"{stage.name}: about {stage.estimate_s:.0f} s of {left_s:.0f} s")
    started = budget.now()
    timeout_s = min(left_s, max(_SHORTEST_S, patience * needed_s))
    ended = runner(
        arguments,
        folder,
        timeout_s=timeout_s,
        module=stage.module,
        environ=_environ(stage, environ),
        root=ROOT,
    )
    seconds = budget.now() - started
    return Outcome(
        state=_state(ended, seconds, timeout_s, stage.result(out)),
        reason="" if ended.status == 0 else ended.last_line,
        seconds=seconds,
        command=(stage.module, *arguments),
    )


def _needed_s(stage: stages_lib.Stage, out: Path) -> float:
    before = read(stage, out)
    if before is None or before.state != "cut":
        return stage.estimate_s
    return max(stage.estimate_s, before.seconds)


def _environ(stage: stages_lib.Stage, environ: Mapping[str, str]) -> dict[str, str]:
    """Returns additions to the environment; XLA's flags of a stage follow those of the user."""
    flags = [one["XLA_FLAGS"] for one in (environ, stage.environ) if one.get("XLA_FLAGS")]
    joined = {"XLA_FLAGS": " ".join(flags)} if flags else {}
    return {**environ, **stage.environ, **joined}


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
