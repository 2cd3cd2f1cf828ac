"""Runs programs in process groups of their own, which end when we end, however that is."""

import contextlib
import os
import signal
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NoReturn

_LAST_LINES = 12
_TAIL_BYTES = 2**16


class RunFailedError(RuntimeError):
    """A program ended with an error or not at all; `last_lines` is what it said at its end."""

    def __init__(self, message: str, last_lines: Sequence[str] = ()):
        super().__init__(message)
        self.last_lines = tuple(last_lines)


def run(
    command: Sequence[str],
    *,
    folder: Path,
    environ: Mapping[str, str],
    log: Path,
    timeout_s: float,
) -> None:
    """Runs a program in `folder` to its good end; what it prints goes into the file `log`.

    Raises:
        RunFailedError: if it cannot start, fails, or takes longer than `timeout_s`.
    """
    try:
        status = status_of(command, log=log, folder=folder, environ=environ, timeout_s=timeout_s)
    except OSError as error:
        raise RunFailedError(f"{command[0]} does not start: {error.strerror}") from None
    except subprocess.TimeoutExpired:
        raise RunFailedError(f"killed after {timeout_s:g} s", _last_lines(log)) from None
    if status:
        raise RunFailedError(f"{_ending(status)}", _last_lines(log))


def status_of(
    command: Sequence[str],
    *,
    log: Path,
    folder: Path | None = None,
    environ: Mapping[str, str] | None = None,
    timeout_s: float | None = None,
    patience_s: float = 0.0,
) -> int:
    """Runs a program to its end and returns its exit status, below 0 the signal that ended it.

    What it prints goes into the file `log`. Folder and variables are ours if none are given.
    Whatever ends the wait, Ctrl-C too, ends the program and all that it started.

    Raises:
        OSError: if it cannot start.
        subprocess.TimeoutExpired: if it takes longer than `timeout_s`.
    """
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            cwd=folder,
            env=None if environ is None else dict(environ),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        with ended(process, patience_s=patience_s):
            return process.wait(timeout_s)


@contextlib.contextmanager
def ended(process: subprocess.Popen, *, patience_s: float = 0.0) -> Iterator[None]:
    """Ends, after the block, a process that leads a session of its own, and what it left behind.

    It is killed; with patience it is asked by Ctrl-C first, and has that long to obey.
    """
    try:
        yield
    finally:
        try:
            if patience_s and process.poll() is None:
                _signal(process, signal.SIGINT)
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(patience_s)
        finally:  # whoever interrupts the patience wants the end all the more
            _signal(process, signal.SIGKILL)
            process.wait()


@contextlib.contextmanager
def interrupted_by_terminate() -> Iterator[None]:
    """Makes SIGTERM, by which jobs are cancelled, raise KeyboardInterrupt as Ctrl-C does."""

    def interrupt(number: int, frame: object) -> NoReturn:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def tail(log: Path) -> list[str]:
    """Returns the last lines of what a program printed: no more than 64 KiB of them."""
    with log.open("rb") as file:
        file.seek(max(0, log.stat().st_size - _TAIL_BYTES))
        return file.read().decode(errors="replace").rstrip().splitlines()


def _signal(process: subprocess.Popen, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, number)  # of a group without members: no such process


def _ending(status: int) -> str:
    if status > 0:
        return f"ended with exit status {status}"
    return f"was ended by {signal.Signals(-status).name}"


def _last_lines(log: Path) -> list[str]:
    return tail(log)[-_LAST_LINES:]
