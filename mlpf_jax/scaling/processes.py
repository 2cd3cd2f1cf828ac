"""One run of the benchmark as a process of its own, which never outlives this one's interest."""

import contextlib
import dataclasses
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from mlpf_jax.results import escaping

_PATIENCE_S = 10.0  # with a process that was asked to end
_TAIL_BYTES = 2**16


@dataclasses.dataclass(frozen=True)
class Outcome:
    """How a process ended: its exit status, and the last line it wrote, an error if there is."""

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
) -> Outcome:
    """Runs the benchmark in a fresh process; what it says goes to `log.txt` in the folder.

    The process is a group of its own and is ended with all its children if it takes longer than
    the timeout, or if this one is interrupted.
    """
    log = folder / "log.txt"
    command = [sys.executable, "-m", module, *arguments]
    with log.open("wb") as file:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            status = process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            return Outcome(-signal.SIGKILL, f"did not end within {timeout_s:g} s")
        finally:
            _end(process)
    return Outcome(status, _last_line(log, status))


def _end(process: subprocess.Popen[bytes]) -> None:
    """Ends the process, if it still runs, with Ctrl-C and then by force; and what it left."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGINT)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(_PATIENCE_S)
        os.killpg(process.pid, signal.SIGKILL)  # of a group without members: no such process
    process.wait()


def _last_line(log: Path, status: int) -> str:
    with log.open("rb") as file:
        file.seek(max(0, log.stat().st_size - _TAIL_BYTES))
        text = file.read().decode(errors="replace")
    lines = [clean for line in text.splitlines() if (clean := escaping.clean(line).strip())]
    errors = [line for line in lines if line.startswith("error: ")]
    last = (errors or lines or ["it wrote nothing"])[-1].removeprefix("error: ")
    if status == -signal.SIGKILL:
        return f"killed, perhaps for lack of memory; its last line: {last}"
    return f"ended by signal {-status}; its last line: {last}" if status < 0 else last
