"""Runs programs in their own process groups, which end with this process, however it ends."""

import contextlib
import os
import re
import signal
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

_LAST_LINES = 12
_TAIL_BYTES = 2**16
_STACK = re.compile(r"\s*@ +0x[0-9a-f]+ |\*\*\* Check failure stack trace")  # after XLA's reason
_ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
# Reads the number of a group, and kills the group at the end of its input.
_WATCH = ("/bin/sh", "-c", 'read -r group && ! read -r _ && kill -s KILL -- "-$group"')


class RunFailedError(RuntimeError):
    """A program failed or timed out; `last_lines` are the last lines of its output."""

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
    """Runs a program in `folder` until it succeeds; its output goes to the file `log`.

    Raises:
        RunFailedError: if it cannot start, fails, or takes longer than `timeout_s`.
    """
    try:
        status = status_of(command, log=log, folder=folder, environ=environ, timeout_s=timeout_s)
    except OSError as error:
        raise RunFailedError(f"{command[0]} does not start: {error.strerror}") from None
    except subprocess.TimeoutExpired:
        raise RunFailedError(f"killed after {timeout_s:g} s", last_lines(log)) from None
    if status:
        raise RunFailedError(ending(status), last_lines(log))


@contextlib.contextmanager
def naming(name: str) -> Iterator[None]:
    """Lets the error of a program that fails in the block begin with a name."""
    try:
        yield
    except RunFailedError as error:
        raise RunFailedError(f"{name}: {error}", error.last_lines) from None


def status_of(
    command: Sequence[str],
    *,
    log: Path,
    folder: Path | None = None,
    environ: Mapping[str, str] | None = None,
    timeout_s: float | None = None,
    patience_s: float = 0.0,
) -> int:
    """Runs a program to its end and returns its exit status, negative for a signal.

    Its output goes to the file `log`. Folder and environment default to those of this process.
    Anything that ends the wait, including Ctrl-C, ends the program and all processes that it
    started.

    Raises:
        OSError: if it cannot start.
        subprocess.TimeoutExpired: if it takes longer than `timeout_s`.
    """
    with (
        log.open("wb") as output,
        started(
            command,
            cwd=folder,
            env=None if environ is None else dict(environ),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            patience_s=patience_s,
        ) as process,
    ):
        return process.wait(timeout_s)


@contextlib.contextmanager
def started(
    command: Sequence[str], *, patience_s: float = 0.0, **options: Any
) -> Iterator[subprocess.Popen]:
    """Starts a program, with the options of `Popen`, and ends it after the block, see `ended`.

    If this process is killed in the block, the program and its children are killed, too.
    """
    with contextlib.ExitStack() as stack:
        with _delayed_signals():  # one in the midst of the start would leave it running
            watch = stack.enter_context(_watching())
            process = subprocess.Popen(command, start_new_session=True, **options)
            stack.enter_context(process)  # closes its pipes
            stack.enter_context(ended(process, patience_s=patience_s))
            watch(process.pid)
        yield process


@contextlib.contextmanager
def _watching() -> Iterator[Callable[[int], object]]:
    """Yields what has a group killed if this process is killed in the block.

    A process in a session of its own does it, because its input ends with this one.
    """
    with subprocess.Popen(
        _WATCH,
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        bufsize=0,
        start_new_session=True,
    ) as watch:
        assert watch.stdin is not None
        tell = watch.stdin.write
        try:
            yield lambda group: tell(b"%d\n" % group)
        finally:
            watch.kill()  # before its input ends


@contextlib.contextmanager
def _delayed_signals() -> Iterator[None]:
    """Delays the signals that this process handles to the end of the block."""
    came: list[int] = []
    before = {one: found for one in _ENDING if callable(found := signal.getsignal(one))}
    for one in before:
        signal.signal(one, lambda number, frame: came.append(number))
    try:
        yield
    finally:
        for one, handler in before.items():
            signal.signal(one, handler)
        for number in came:
            signal.raise_signal(number)


@contextlib.contextmanager
def ended(process: subprocess.Popen, *, patience_s: float = 0.0) -> Iterator[None]:
    """Ends, after the block, a process with its own session, and its remaining children.

    It is killed; with `patience_s`, it first gets SIGINT and this time to end.
    """
    try:
        yield
    finally:
        try:
            if patience_s and process.poll() is None:
                _signal(process, signal.SIGINT)
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(patience_s)
        finally:  # kill it even if the wait is interrupted
            _signal(process, signal.SIGKILL)
            process.wait()


class Terminated(KeyboardInterrupt):
    """SIGTERM or SIGHUP has come; `status` is the exit status of both."""

    status = 128 + signal.SIGTERM


@contextlib.contextmanager
def interrupted_by_terminate() -> Iterator[None]:
    """Makes SIGTERM, which cancels jobs, raise `Terminated`, which is handled as Ctrl-C is.

    So does SIGHUP, of a lost terminal, unless it is ignored. Once only: `timeout` sends a signal
    twice, and the second one must not interrupt the cleanup.
    """
    numbers = [signal.SIGTERM, signal.SIGHUP]
    if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:  # by nohup
        numbers.pop()

    def interrupt(number: int, frame: object) -> NoReturn:
        for one in numbers:
            signal.signal(one, signal.SIG_IGN)
        raise Terminated

    before = {one: signal.signal(one, interrupt) for one in numbers}
    try:
        yield
    finally:
        for one, handler in before.items():
            signal.signal(one, handler or signal.SIG_DFL)  # None: it was not set by Python


def tail(log: Path) -> list[str]:
    """Returns the last lines of a program's output, without C++ stacks, at most 64 KiB.

    Of a removed file there are none.
    """
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - _TAIL_BYTES))
            lines = file.read().decode(errors="replace").rstrip().splitlines()
    except FileNotFoundError:
        return []
    return [line for line in lines if not _STACK.match(line)]


def ending(status: int) -> str:
    """Describes an exit status that is not 0, negative for a signal."""
    if status > 0:
        return f"ended with exit status {status}"
    names = {one.value: one.name for one in signal.Signals}  # without most of the real-time ones
    return f"was ended by {names.get(-status, f'signal {-status}')}"


def last_lines(log: Path) -> list[str]:
    """Returns the last lines of a program's output, a few."""
    return tail(log)[-_LAST_LINES:]


def _signal(process: subprocess.Popen, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, number)  # raised for a group without members
