"""Runs the benchmark in its own process, and summarises in one line how it ended."""

import dataclasses
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from mlpf_jax import processes
from mlpf_jax.render import escaping

_PATIENCE_S = 10.0  # time for a process to end after a request


@dataclasses.dataclass(frozen=True)
class Outcome:
    """The outcome of a process: exit status and last line, preferably an error."""

    status: int
    last_line: str


# Takes the arguments of a run and a folder for its log.
Runner = Callable[[Sequence[str], Path], Outcome]


def run_main(
    arguments: Sequence[str],
    folder: Path,
    *,
    timeout_s: float | None = None,
    module: str = "mlpf_jax.main",
    environ: Mapping[str, str] | None = None,
    root: Path | None = None,
) -> Outcome:
    """Runs the benchmark in a new process; its output goes to `log.txt` in the folder.

    The process and its children are ended after the timeout, or if this process is interrupted.
    `environ` is added to the environment of this process, and `root` is the current folder.
    """
    log = folder / "log.txt"
    command = [sys.executable, "-m", module, *arguments]
    try:
        status = processes.status_of(
            command,
            log=log,
            folder=root,
            environ={**os.environ, **environ} if environ else None,
            timeout_s=timeout_s,
            patience_s=_PATIENCE_S,
        )
    except subprocess.TimeoutExpired:
        return Outcome(-signal.SIGKILL, f"did not end within {timeout_s:g} s")
    return Outcome(status, _last_line(log, status))


def _last_line(log: Path, status: int) -> str:
    lines = [clean for line in processes.tail(log) if (clean := escaping.clean(line).strip())]
    errors = [line for line in lines if line.startswith("error: ")]
    last = (errors or lines or ["it had no output"])[-1].removeprefix("error: ")
    if status == -signal.SIGKILL:
        return f"killed, perhaps for lack of memory; its last line: {last}"
    return f"ended by signal {-status}; its last line: {last}" if status < 0 else last
