"""Runs copies of the benchmark side by side, so that all measure while all work."""

import contextlib
import dataclasses
import json
import os
import selectors
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from mlpf_jax import processes

Say = Callable[[str], None]
_PROGRESS_S = 60.0  # after which the first copy's last line is told
_MEMBER = (sys.executable, "-P", "-m", "mlpf_jax.workload.member")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Copy:
    """One copy to run."""

    number: int  # from 1
    arguments: tuple[str, ...]  # of the run
    cores: tuple[int, ...] | None  # that it is bound to; None: not bound
    environ: Mapping[str, str]
    log: Path
    program: tuple[str, ...] = _MEMBER  # gets the descriptor of its socket and the arguments


@dataclasses.dataclass(frozen=True)
class Span:
    """When a copy measured a phase, on the monotonic clock of the machine."""

    start_ns: int
    end_ns: int


class _Running:
    """A started copy, and what it has told."""

    def __init__(self, copy: Copy, process: subprocess.Popen, line: socket.socket):
        self.copy, self.process, self.line = copy, process, line
        self.spans: dict[str, Span] = {}
        self.waits_at: str | None = None
        self._unread = b""

    def listen(self) -> bool:
        """Reads what the copy says; returns whether it goes on."""
        try:
            received = self.line.recv(4096)
        except ConnectionError:
            received = b""
        *lines, self._unread = (self._unread + received).split(b"\n")
        for line in lines:
            message = json.loads(line)
            phase = message["phase"]
            self.waits_at = f"{'end' if 'end_ns' in message else 'start'} of {phase}"
            if "end_ns" in message:
                self.spans[phase] = Span(message["start_ns"], message["end_ns"])
        return bool(received)

    def release(self) -> None:
        """Lets the copy go on."""
        self.waits_at = None
        with contextlib.suppress(OSError):  # it has ended, and `listen` will tell
            self.line.sendall(b".")


def run(copies: Sequence[Copy], say: Say) -> list[Mapping[str, Span]]:
    """Runs the copies to their end; returns when each of them measured its phases.

    A phase starts when every copy has compiled its steps and is ready for it. A copy that has ended
    a phase repeats its last step until all have. If one fails, all are ended. `say` is told the
    progress, one line each.

    Raises:
        RunFailedError: if a copy fails; it says which and why.
    """
    with contextlib.ExitStack() as stack, selectors.DefaultSelector() as selector:
        running = [stack.enter_context(_started(copy)) for copy in copies]
        for one in running:
            selector.register(one.line, selectors.EVENT_READ, one)
        told = ""
        while selector.get_map():
            ready = selector.select(_PROGRESS_S)
            for key, _ in ready:
                if not key.data.listen():
                    selector.unregister(key.fileobj)
                    _require_success(key.data, len(running))
            if not ready:
                told = _tell(copies[0], told, say)
            _release_together(running, say)
            if len(selector.get_map()) < len(running) and any(one.waits_at for one in running):
                raise processes.RunFailedError("a copy ended while others waited for it")
        return [one.spans for one in running]


def _tell(copy: Copy, told: str, say: Say) -> str:
    """Says the last line of a copy, unless it was told; returns it."""
    line = "".join(processes.last_lines(copy.log)[-1:])
    if line != told:
        say(f"copy {copy.number}: {line}")
    return line


def _release_together(running: Sequence[_Running], say: Say) -> None:
    places = {one.waits_at for one in running}
    place = places.pop()
    if places or place is None:
        return
    for one in running:
        one.release()
    say(f"{'the copy' if len(running) == 1 else f'all {len(running)} copies'} at the {place}")


def _require_success(ended: _Running, num_copies: int) -> None:
    status = ended.process.wait()
    if status == 0:
        return
    lines = processes.last_lines(ended.copy.log)
    errors = [line.removeprefix("error: ") for line in lines if line.startswith("error: ")]
    if status == -signal.SIGKILL:
        errors = ["perhaps for lack of memory; fewer --copies need less"]
    why = f": {errors[-1]}" if errors else ""
    raise processes.RunFailedError(
        f"copy {ended.copy.number} of {num_copies} {processes.ending(status)}{why} "
        f"(log: {ended.copy.log})",
        lines,
    )


@contextlib.contextmanager
def _started(copy: Copy) -> Iterator[_Running]:
    """Starts a copy on its cores; ends it, with all that it started, after the block."""
    ours, theirs = socket.socketpair()
    with ours:
        # One descriptor for each copy is left, for there may be one on each of a thousand cores.
        with theirs, copy.log.open("wb") as output, _bound(copy.cores):
            process = subprocess.Popen(
                [*copy.program, str(theirs.fileno()), *copy.arguments],
                env=dict(copy.environ),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                pass_fds=[theirs.fileno()],
                start_new_session=True,
            )
        with processes.ended(process):
            yield _Running(copy, process, ours)


@contextlib.contextmanager
def _bound(cores: Sequence[int] | None) -> Iterator[None]:
    """Binds this thread to the cores within the block; what it starts there stays bound.

    Memory follows: the kernel takes it from the node of the core that first writes to it.
    """
    if cores is None:
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)
