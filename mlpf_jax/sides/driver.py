"""Starts sides, keeps them alive together, and lets one at a time run short windows, in turns.

What slows the machine for seconds meets all sides alike: neighbouring windows are compared. A side
that dies, hangs or says what it should not ends the comparison; nothing it started is left running.
"""

import contextlib
import dataclasses
import json
import math
import os
import random
import selectors
import statistics
import subprocess
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from mlpf_jax import processes
from mlpf_jax.measure import load, trust
from mlpf_jax.sides import protocol

# The shortest window. Longer ones vary as much: many short ones tell more in the same time.
WINDOW_S = 0.1
_LOAD_S = 1.0  # that load by others is averaged over: the system counts it in ticks of 10 ms
_LEAVE_S = 5.0  # for a side to end by itself
_LONGEST_LINE = 2**20
_LONGEST_SELECT_S = 3600.0  # the system refuses to wait for months, or for ever
_ROOM = 1.1  # free memory that a side must find, relative to its need


class NotTogetherError(Exception):
    """Sides cannot be compared by windows in turns; the message says why."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Side:
    """A program to start, which speaks the protocol on its standard input and output."""

    name: str
    command: Sequence[str]
    folder: Path
    environ: Mapping[str, str]
    log: Path  # for its standard error
    limit_s: float  # for the start, and for every answer


@dataclasses.dataclass(frozen=True)
class Window:
    """One window of a side."""

    seconds: float
    load: load.Load | None  # by other processes meanwhile; None: unknown


class Live:
    """A started side."""

    def __init__(self, side: Side, process: subprocess.Popen[bytes]):
        self._side, self._process, self._unread = side, process, b""
        ready = self._answer()
        if ready.get("protocol") != protocol.VERSION:
            raise self._failed(f"speaks protocol {ready.get('protocol')}, not {protocol.VERSION}")
        self.ready = ready
        self.phases = tuple(map(str, self._known(ready, "phases", list)))
        self.memory_bytes = int(self._known(ready, "memory_bytes", int))
        self.events_per_step = int(self._known(ready, "events_per_step", int))
        if self.events_per_step < 1:
            raise self._failed(f"says that a step takes {self.events_per_step} events")

    def run(self, phase: str, num_steps: int) -> Window:
        """Runs steps of a phase."""
        answer = self._ask({"run": phase, "steps": num_steps})
        seconds = float(self._known(answer, "seconds", (int, float)))
        if not 0 < seconds < math.inf:
            raise self._failed(f"says that {num_steps} steps took {seconds} s")
        told = answer.get("load")
        if told is None:
            return Window(seconds, None)
        parts = [self._known(told, name, (int, float)) for name in ("other_cores", "stolen_cores")]
        return Window(seconds, load.Load(*parts))

    def peak_bytes(self) -> int:
        """Returns the peak of its memory so far."""
        return int(self._known(self._ask({"memory": True}), "peak_bytes", int))

    def leave(self) -> None:
        """Lets it end, and waits for a moment."""
        with contextlib.suppress(OSError, subprocess.TimeoutExpired):
            self._send({"end": True})
            self._process.wait(_LEAVE_S)

    def _ask(self, request: Mapping[str, Any]) -> dict[str, Any]:
        with contextlib.suppress(OSError):  # it has ended, and `_answer` tells how
            self._send(request)
        return self._answer()

    def _send(self, request: Mapping[str, Any]) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(request).encode() + b"\n")

    def _answer(self) -> dict[str, Any]:
        line = self._line()
        try:
            answer = json.loads(line)
        except (ValueError, RecursionError):
            answer = None
        if not isinstance(answer, dict):
            raise self._failed(f"said {line[:80].decode(errors='replace')!r}, which is no answer")
        return answer

    def _line(self) -> bytes:
        """Returns the next line; kills a side that takes too long for it."""
        assert self._process.stdout is not None
        end_s = time.monotonic() + self._side.limit_s
        with selectors.DefaultSelector() as selector:
            selector.register(self._process.stdout, selectors.EVENT_READ)
            while b"\n" not in self._unread:
                left_s = end_s - time.monotonic()
                if left_s <= 0:
                    raise self._failed(f"killed after {self._side.limit_s:g} s")
                if not selector.select(min(left_s, _LONGEST_SELECT_S)):
                    continue
                received = os.read(self._process.stdout.fileno(), 2**16)
                if not received:
                    raise self._failed(self._ending())
                self._unread += received
                if len(self._unread) > _LONGEST_LINE:
                    raise self._failed("said too much in one line")
        line, _, self._unread = self._unread.partition(b"\n")
        return line

    def _ending(self) -> str:
        with contextlib.suppress(subprocess.TimeoutExpired):
            if status := self._process.wait(_LEAVE_S):
                return processes.ending(status)
        return "ended too early"

    def _known(self, answer: Any, name: str, kind: Any) -> Any:
        if not isinstance(answer, dict) or not isinstance(answer.get(name), kind):
            raise self._failed(f"said {json.dumps(answer)[:80]}, without {name}")
        return answer[name]

    def _failed(self, why: str) -> processes.RunFailedError:
        last_lines = processes.last_lines(self._side.log)
        return processes.RunFailedError(f"{self._side.name}: {why}", last_lines)


@contextlib.contextmanager
def starting(side: Side) -> Iterator[Callable[[], Live]]:
    """Starts a side, and gives what waits until it is ready; ends it after the block.

    All processes that it has started end, too.

    Raises:
        RunFailedError: if it does not start, dies, hangs or breaks the protocol.
    """
    with contextlib.ExitStack() as stack:
        with side.log.open("wb") as log:
            start = processes.started(
                side.command,
                cwd=side.folder,
                env=dict(side.environ),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                bufsize=0,  # a request is sent at once, and nothing is left when a pipe is closed
            )
            try:
                process = stack.enter_context(start)
            except OSError as error:
                message = f"{side.name}: {side.command[0]} does not start: {error.strerror}"
                raise processes.RunFailedError(message) from None
        ready: list[Live] = []

        def wait() -> Live:
            ready.append(Live(side, process))
            return ready[0]

        yield wait
        for live in ready:
            live.leave()


def has_room(needed_bytes: int, free_bytes: int) -> bool:
    """Whether so much memory is free, with some to spare."""
    return needed_bytes * _ROOM <= free_bytes


def require_room(needed_bytes: int, free_bytes: int | None) -> None:
    """Refuses another side if what it needs is not free.

    Raises:
        NotTogetherError: one line with both numbers.
    """
    if free_bytes is not None and not has_room(needed_bytes, free_bytes):
        raise NotTogetherError(
            f"the next side needs {needed_bytes / 2**30:.1f} GiB beside those that are alive, and "
            f"{free_bytes / 2**30:.1f} GiB are free"
        )


@dataclasses.dataclass(frozen=True, kw_only=True)
class Turns:
    """The windows of one phase, in rounds: the n-th windows of all sides are neighbours."""

    steps: int  # in a window
    windows: Mapping[str, tuple[Window, ...]]  # by side

    def seconds(self, name: str) -> float:
        """Returns the median seconds per step."""
        return statistics.median(one.seconds for one in self.windows[name]) / self.steps

    def slowdown(self, a: str, b: str) -> float:
        """Returns the median of the logarithms of the ratios of neighbouring windows, b over a."""
        pairs = zip(self.windows[a], self.windows[b], strict=True)
        return statistics.median(math.log(of_b.seconds / of_a.seconds) for of_a, of_b in pairs)


def num_disturbed(
    series: Iterable[Sequence[Window]], num_cores: int, *, on_cpu: bool = True
) -> int | None:
    """Returns how many windows other programs or the hypervisor disturbed; None if unknown.

    Each of the series is of successive windows of a side. Judged is the mean over as many of them
    as make a second.
    """
    found = 0
    for windows in series:
        part = list[tuple[load.Load, float]]()
        for number, one in enumerate(windows, start=1):
            if one.load is None:
                return None
            part.append((one.load, one.seconds))
            if sum(seconds for _, seconds in part) >= _LOAD_S or number == len(windows):
                found += len(part) * bool(trust.in_load(load.mean(part), num_cores, on_cpu=on_cpu))
                part.clear()
    return found


def take_turns(
    live: Mapping[str, Live], phase: str, num_rounds: int, coins: random.Random
) -> Turns:
    """Runs windows of a phase: in every round one of each side, in random order.

    All sides run the same number of steps, which take the fastest one WINDOW_S. Two windows of
    each go before: one of a single step, and a warm-up.
    """
    steps = 1
    for _ in range(2):
        fastest_s = min(one.run(phase, steps).seconds for one in live.values()) / steps
        steps = max(1, math.ceil(WINDOW_S / fastest_s))
    windows: dict[str, list[Window]] = {name: [] for name in live}
    for _ in range(num_rounds):
        for name in coins.sample(list(live), len(live)):
            windows[name].append(live[name].run(phase, steps))
    return Turns(steps=steps, windows={name: tuple(taken) for name, taken in windows.items()})
