"""Ends a run in good order: after a signal, at a time limit, or when it hangs.

SIGINT, SIGTERM and SIGUSR1, which batch systems send before the end of a slot, and SIGHUP of a lost
terminal raise `Stopped` in the main thread. Where the state must stay whole, `Stop.deferred` delays
that until `Stop.poll`. A thread watches from outside: if the main thread is inside XLA and does not
answer in time, the thread writes the last words and ends the process. A second signal ends it at
once, except soon after the first: `timeout` sends every signal twice.
"""

import contextlib
import faulthandler
import math
import os
import select
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NoReturn

INTERRUPTED, TERMINATED = 130, 143  # exit statuses
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGHUP)
_TICK_S = 1.0
_INSIST_S = 3.0  # longer than cleanup takes
_ANSWER_S = 5.0  # for the main thread to end, besides the longest step
_WORDS_S = 4.0  # for the last words, whose file system may be what was lost, and for their line
_SAVE_S = 25.0  # more, while it saves: batch systems kill after 30 s
_REPEAT_S = 1.0  # a signal this soon after the first one is the same
_TIMED_OUT = "--time_limit"
_GERUNDS = {"inference": "inferring"}  # of phases that are no gerund


class Stopped(KeyboardInterrupt):
    """The run must end; `status` is its exit status."""

    def __init__(self, reason: str, status: int):
        super().__init__(reason)
        self.reason, self.status = reason, status


class Stop:
    """Whether the process was told to end, and the thread that sees to it.

    `last_words` is called with the reason before the process ends without its main thread; it
    returns one line for the user.
    """

    def __init__(self):
        self.phase = "starting"
        self.last_words: Callable[[str], str] = self.how
        self.reason: str | None = None  # why the process must end
        self.status = 0
        self.longest_s = 0.0  # duration of the longest step or save so far
        self.patience_s = math.inf  # with a main thread that should end
        self.started_s = time.monotonic()
        self._deadline_s: float | None = None
        self._hang_s: float | None = None
        self._main = threading.get_ident()
        self._is_deferred = False
        self._leaving = threading.Lock()
        self._quiet_ticks = 0  # since the last progress
        self._asked_s: float | None = None  # when the main thread was told to end
        self._insisted_s = 0.0
        self._grace_s = 0.0
        self._raised_s = -math.inf  # when the main thread was last interrupted
        self._num_own = 0  # signals of the watching thread that it has not read yet
        self._before: dict[signal.Signals, Any] = {}  # handlers
        self._writing = -1
        self._hook = sys.unraisablehook

    def __enter__(self) -> "Stop":
        """Handles the signals from now on, except those that are ignored, and starts the thread.

        Must be called in the main thread.
        """
        reading, self._writing = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.set_wakeup_fd(self._writing, warn_on_full_buffer=False)
        for number in _SIGNALS:
            before = signal.getsignal(number)
            if before is not signal.SIG_IGN:
                self._before[number] = before
                signal.signal(number, self._handle)
        self._hook, sys.unraisablehook = sys.unraisablehook, _tell_unless_stopped
        threading.Thread(target=self._watch, args=(reading,), name="stop", daemon=True).start()
        return self

    def __exit__(self, *error: object) -> None:
        """Handles the signals as before, and ends the thread."""
        for number, handler in self._before.items():
            signal.signal(number, handler or signal.SIG_DFL)  # None: it was not set by Python
        signal.set_wakeup_fd(-1)
        sys.unraisablehook = self._hook
        os.close(self._writing)

    def limit(self, minutes: float | None, minutes_without_progress: float) -> None:
        """Sets the time limit of the process, and how long it may make no progress (0: ever)."""
        self._deadline_s = None if minutes is None else self.started_s + 60 * minutes
        self._hang_s = 60 * minutes_without_progress or None

    def end(self) -> None:
        """Notes that the main thread is ending the process: `Stopped` is not raised again."""
        self._is_deferred = True

    def enter(self, phase: str) -> None:
        """Names the phase of the run, which is also a sign of progress."""
        self.phase = phase
        self.progressed()

    def progressed(self, seconds: float = 0.0) -> None:
        """Notes progress, and how long a step, a sample or a save took."""
        self._quiet_ticks = 0
        self.longest_s = max(self.longest_s, seconds)

    def poll(self) -> None:
        """Raises `Stopped` if the process must end, or soon would be too late."""
        if self.reason is None and self._is_due(2 * self.longest_s):
            self.ask(_TIMED_OUT, 1)
        if self.reason is not None:
            raise Stopped(self.reason, self.status)

    @contextlib.contextmanager
    def deferred(self) -> Iterator[None]:
        """Delays `Stopped` within the block until `poll`."""
        self._is_deferred = True
        try:
            yield
        finally:
            self._is_deferred = False

    @contextlib.contextmanager
    def saving(self) -> Iterator[None]:
        """Gives the main thread more time to end within the block."""
        self._grace_s = _SAVE_S
        try:
            yield
        finally:
            self._grace_s = 0.0

    def _is_due(self, ahead_s: float) -> bool:
        return self._deadline_s is not None and time.monotonic() + ahead_s > self._deadline_s

    def ask(self, reason: str, status: int) -> None:
        """Asks the main thread to end the run; the first reason counts. From any thread."""
        if self.reason is None:
            self.reason, self.status = reason, status

    def how(self, reason: str) -> str:
        """Returns a sentence: how the run ended, and in which phase."""
        how = "interrupted" if reason == "SIGINT" else f"stopped ({reason})"
        return f"{how} while {_GERUNDS.get(self.phase, self.phase)}."

    def _note(self, number: int) -> None:
        """Notes that a signal has come."""
        status = INTERRUPTED if number == signal.SIGINT else TERMINATED
        self.ask(signal.Signals(number).name, status)

    def _handle(self, number: int, frame: object) -> None:
        self._note(number)
        now = time.monotonic()
        if self._is_deferred or now - self._raised_s < _REPEAT_S:
            return
        self._raised_s = now
        assert self.reason is not None
        raise Stopped(self.reason, self.status)

    def _watch(self, reading: int) -> None:
        """Is the thread: reads the numbers of signals until `__exit__` closes the other end."""
        waiting = select.poll()  # `select.select` knows no descriptor above 1023
        waiting.register(reading, select.POLLIN)
        while True:
            ready = waiting.poll(1000 * _TICK_S)
            told = os.read(reading, 64) if ready else None
            if told == b"":
                os.close(reading)
                return
            self._tick([number for number in told or () if number in _SIGNALS], bool(ready))

    def _tick(self, numbers: Sequence[int], was_early: bool) -> None:
        """Looks at the signals that have come, and at the clock."""
        now = time.monotonic()
        num_foreign = max(len(numbers) - self._num_own, 0)
        self._num_own = max(self._num_own - len(numbers), 0)
        if self._asked_s is not None:
            if num_foreign and now - self._asked_s > _REPEAT_S:
                self.leave("a second signal")
            self._await_answer(now)
            return
        if numbers:
            self._note(numbers[0])
        if self.reason is None:
            self._watch_the_clock(was_early)
            if self.reason is not None:
                self._insist()
        if self.reason is not None:
            self._asked_s = self._insisted_s = now

    def _await_answer(self, now: float) -> None:
        assert self._asked_s is not None
        limit_s = _ANSWER_S + 3 * self.longest_s + self._grace_s
        if now - self._asked_s > min(limit_s, self.patience_s):
            self.leave(f"{self.reason}; it did not answer")
        if now - self._insisted_s > _INSIST_S and not self._is_deferred:
            # JAX sometimes loses an exception that is raised inside it.
            self._insisted_s = now
            self._insist()

    def _watch_the_clock(self, was_early: bool) -> None:
        """Ends the run at its time limit, or if it hangs.

        Counts its own ticks, so a suspended process or a changed clock does not look like a hang.
        """
        self._quiet_ticks += not was_early
        if self._is_due(_ANSWER_S / 2):
            self.ask(_TIMED_OUT, 1)
        elif self._hang_s is not None and self._quiet_ticks * _TICK_S > self._hang_s:
            path = _keep_stacks()
            self.ask(f"no progress for {self._hang_s:.0f} s (stacks of all threads: {path})", 1)
            assert self.reason is not None
            self.leave(self.reason)

    def _insist(self) -> None:
        """Sends a signal to the main thread, because only this wakes it from a wait."""
        self._num_own += 1
        signal.pthread_kill(self._main, signal.SIGUSR1)

    def leave(self, reason: str) -> NoReturn:
        """Ends the process from outside of the main thread, by the first thread that calls."""
        self._leaving.acquire()
        lines = [f"stopped ({reason})."]

        def say() -> None:
            with contextlib.suppress(Exception):
                lines.append(self.last_words(reason))

        def tell() -> None:  # nobody may empty the pipe
            with contextlib.suppress(OSError):
                print(f"error: {lines[-1]}", file=sys.stderr, flush=True)
                sys.stdout.flush()

        for speak in (say, tell):
            _try(speak)
        os._exit(self.status or 1)


def _try(speak: Callable[[], None]) -> None:
    """Calls it in a thread, and waits for it for some seconds."""
    with contextlib.suppress(RuntimeError):  # Python is ending, and starts no thread
        words = threading.Thread(target=speak, name="last words", daemon=True)
        words.start()
        words.join(_WORDS_S)


def _keep_stacks() -> str:
    """Returns the file with the stacks, or why there is none."""
    found = [f"none within {_WORDS_S:g} s"]  # where its file system is what was lost

    def keep() -> None:
        try:
            descriptor, path = tempfile.mkstemp(prefix="mlpf-jax-stacks-", suffix=".txt")
            with open(descriptor, "w", encoding="utf-8") as file:
                faulthandler.dump_traceback(file, all_threads=True)
        except OSError as error:
            path = f"none, {error.strerror}"
        found.append(path)

    _try(keep)
    return found[-1]


def _tell_unless_stopped(unraisable: "sys.UnraisableHookArgs") -> None:
    """Hides a `Stopped` that Python cannot raise, because it is raised again."""
    if not issubclass(unraisable.exc_type, KeyboardInterrupt):
        sys.__unraisablehook__(unraisable)
