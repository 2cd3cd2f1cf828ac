"""Runs programs in process groups of their own, which end when we end, however that is."""

import contextlib
import os
import signal
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NoReturn

_LAST_LINES = 12


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
    """Runs a program in `folder` to its end; what it prints goes into the file `log`.

    Whatever ends the wait, Ctrl-C too, ends the program and all that it started.

    Raises:
        RunFailedError: if it cannot start, fails, or takes longer than `timeout_s`.
    """
    with log.open("wb") as output:
        try:
            process = subprocess.Popen(
                command,
                cwd=folder,
                env=dict(environ),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        except OSError as error:
            raise RunFailedError(f"{command[0]} does not start: {error.strerror}") from None
        with _ended(process):
            try:
                status = process.wait(timeout_s)
            except subprocess.TimeoutExpired:
                raise RunFailedError(f"killed after {timeout_s:g} s", _tail(log)) from None
    if status:
        raise RunFailedError(f"{_ending(status)}", _tail(log))


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


@contextlib.contextmanager
def _ended(process: subprocess.Popen[bytes]) -> Iterator[None]:
    try:
        yield
    finally:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)  # of a group without members: no such process
        process.wait()


def _ending(status: int) -> str:
    if status > 0:
        return f"ended with exit status {status}"
    return f"was ended by {signal.Signals(-status).name}"


def _tail(log: Path) -> list[str]:
    text = log.read_text(encoding="utf-8", errors="replace")
    return text.rstrip().splitlines()[-_LAST_LINES:]
