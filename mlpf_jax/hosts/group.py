"""The processes of one run while it goes on: they meet, show that they live, and end together.

JAX waits for ever on a process that is alive and stuck, and aborts if one has died. So a thread of
each process watches from outside: the processes have connections of their own, over which each
shows once a second that it lives. Who sees another die, stop or leave tells process 0, and process
0 tells all.
"""

import contextlib
import os
import selectors
import sys
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

from mlpf_jax import stopping
from mlpf_jax.hosts import agreement, channel, launchers, meeting

_TICK_S = 0.5
_BEAT_S = 1.0
_AWAY_S = 4.0  # longer than a tick ever takes: this process itself was stopped
# Of the time within which all end, the part after which a silent process counts as lost.
_SILENT_SHARE = 0.8
_SETTLE_S = 3.0  # for the news of a death to come round
_QUIET_S = 5.0  # several beats: who is silent for so long has caused an error of a collective
_END_S = 1.0  # for each other process to take the news of the end

joined: "Group | None" = None  # the group of this process, if it has one


class Group:
    """The group that this process belongs to, and the thread that watches it."""

    def __init__(
        self,
        met: meeting.Met,
        place: launchers.Placement,
        stop: stopping.Stop,
        timeout_s: float,
        clock: channel.Clock = time.monotonic,
    ):
        self.members, self.place, self.process_id = met.members, place, place.process_id
        self._channels, self._stop, self._clock = dict(met.channels), stop, clock
        self.timeout_s = timeout_s
        self._silent_s = _SILENT_SHARE * timeout_s
        stop.patience_s = timeout_s / 2
        self._news = threading.Condition()
        self._given: dict[int, Any] = {}  # of this meeting, by the process
        self._taken: list[Any] = []  # the answer of process 0
        self._end: str | None = None  # why the run ends
        self._is_waiting = False
        self._is_over = False
        self._looked_s = self._beat_s = clock()
        for link in self._channels.values():
            link.heard_s = clock()

    def start(self) -> "Group":
        """Starts the thread."""
        threading.Thread(target=self._watch, name="hosts", daemon=True).start()
        return self

    @property
    def me(self) -> meeting.Member:
        """This process."""
        return self.members[self.process_id]

    @property
    def is_first_here(self) -> bool:
        """Whether no process with a lower number runs on this machine."""
        return all(one.boot != self.me.boot for one in self.members[: self.process_id])

    def share(self, value: Any = None) -> Any:
        """Waits until all processes have come here; returns the value of process 0.

        Raises:
            stopping.Stopped: if the run ends meanwhile.
        """
        return self._meet(value, None)[1]

    def gather(
        self, value: Any, judge: Callable[[Sequence[Any]], str | None] = lambda values: None
    ) -> list[Any]:
        """Waits as `share`; returns the values of all in process 0, and nothing in the others.

        Process 0 ends the run if `judge` finds something wrong with the values.

        Raises:
            ValueError: in process 0, with what is wrong.
            stopping.Stopped: if the run ends meanwhile.
        """
        return self._meet(value, judge)[0]

    def agree(self, facts: agreement.Facts) -> None:
        """Compares facts with those of process 0, and ends the run if they differ.

        Raises:
            ValueError: in process 0, if one differs.
            stopping.Stopped: in the others.
        """

        def judge(values: Sequence[Any]) -> str | None:
            found = (
                agreement.difference(values[0], theirs, str(member))
                for member, theirs in zip(self.members, values, strict=True)
            )
            return next(filter(None, found), None)

        self.gather(dict(facts), judge)

    def settle(self, error: str) -> None:
        """Waits for news of another process that may have caused an error here.

        gloo gives up after 30 s, which may be before the others count as lost.

        Raises:
            stopping.Stopped: if the run ends because of another process.
        """
        with self._news:
            self._news.wait_for(lambda: self._end is not None or self._is_over, _SETTLE_S)
        self._raise_end()
        for number, link in self._channels.items():
            silent_s = self._clock() - link.heard_s
            if not self._is_over and silent_s > _QUIET_S:
                why = f"no sign of life for {silent_s:.0f} s ({error})"
                raise stopping.Stopped(f"lost {self.members[number]}: {why}", 1)

    def leave(self, reason: str) -> None:
        """Tells the others that this process ends, and why.

        From now on nobody watches the others; `stop` sees to it that the main thread does end.
        """
        with self._news:
            if self._end is not None or self._is_over:
                return
            self._is_over = True
        self._stop.end()
        self._stop.ask(reason, 1)
        if self.process_id:
            self._tell({"kind": "leave", "reason": reason}, within_s=_END_S)
        else:
            self._tell_end(f"{self.me} ended: {reason}", is_alive=True)

    def finish(self) -> None:
        """Ends the watch in good order; process 0 comes here when its report is written."""
        self._meet(None, None, is_last=True)

    def _meet(self, value, judge, *, is_last: bool = False) -> tuple[list[Any], Any]:
        if self.process_id:
            self._taken = []
            self._tell({"kind": "give", "value": value})
            self._wait(lambda: bool(self._taken))
            self._is_over |= is_last
            return [], self._taken[0]
        self._wait(lambda: len(self._given) == len(self._channels))
        values = [value, *(self._given[number] for number in sorted(self._given))]
        self._given = {}
        wrong = judge(values) if judge is not None else None
        if wrong is not None:
            self._tell_end(wrong, is_alive=True)
            self._is_over = True
            raise ValueError(wrong)
        self._is_over |= is_last
        self._tell({"kind": "take", "value": value, "is_last": is_last})
        return values, value

    def _wait(self, has_come: Callable[[], bool]) -> None:
        with self._news:
            self._is_waiting = True
            try:
                # A plain wait would keep the signals of this thread waiting, too.
                while not (has_come() or self._end is not None):
                    self._news.wait(_TICK_S)
                    self._stop.progressed()  # each process sees to it that it does not hang itself
            finally:
                self._is_waiting = False
        if not has_come():
            self._raise_end()

    def _raise_end(self) -> None:
        if self._end is not None:
            raise stopping.Stopped(self._end, 1)

    def _tell(
        self, message: channel.Message, but: int | None = None, within_s: float | None = None
    ) -> None:
        for number, link in list(self._channels.items()):
            if number != but:
                with contextlib.suppress(channel.Closed):  # the thread will see it
                    link.send(message, within_s)

    def _tell_end(self, reason: str, *, is_alive: bool, but: int | None = None) -> None:
        self._tell({"kind": "end", "reason": reason, "is_alive": is_alive}, but, _END_S)

    def _watch(self) -> None:
        """Is the thread. An error of it ends the process, which would wait for ever without it."""
        try:
            self._listen_to_all()
        except Exception as error:  # noqa: BLE001 - whatever it is
            self._stop.leave(f"the watch of the processes failed: {error!r}")

    def _listen_to_all(self) -> None:
        with selectors.DefaultSelector() as selector:
            for number, link in self._channels.items():
                selector.register(link, selectors.EVENT_READ, number)
            while not self._is_over and self._end is None:
                for key, _ in selector.select(_TICK_S):
                    self._listen(key.data)
                self.look()

    def look(self) -> None:
        """Shows the others that this process lives, and ends the run if one of them is silent."""
        now = self._clock()
        if now - self._looked_s > _AWAY_S:  # what was sent meanwhile was not read
            for link in self._channels.values():
                link.heard_s = now
        self._looked_s = now
        if now - self._beat_s >= _BEAT_S:
            self._beat_s = now
            self._tell({"kind": "alive"}, within_s=0.0)  # who sends something else lives, too
        for number, link in self._channels.items():
            if now - link.heard_s > self._silent_s:
                self._lose(number, f"no sign of life for {self._silent_s:.0f} s")

    def _listen(self, number: int) -> None:
        try:
            messages = self._channels[number].receive()
        except channel.Closed as closed:
            self._lose(number, str(closed))
            return
        for message in messages:
            self._hear(number, message)

    def _hear(self, number: int, message: channel.Message) -> None:
        kind = message.get("kind")
        if kind == "end":
            self._end_run(str(message.get("reason")), is_alive=bool(message.get("is_alive")))
        elif kind == "leave":
            reason = f"{self.members[number]} ended: {message.get('reason')}"
            self._tell_end(reason, is_alive=True, but=number)
            self._end_run(reason, is_alive=True)
        elif kind in ("give", "take"):
            with self._news:
                if kind == "give":
                    self._given[number] = message.get("value")
                else:
                    self._taken = [message.get("value")]
                    self._is_over |= bool(message.get("is_last"))
                self._news.notify_all()

    def _lose(self, number: int, why: str) -> None:
        """Ends the run because a process has died or does not answer."""
        if self._is_over:
            return
        reason = f"lost {self.members[number]}: {why}"
        if not self.process_id:
            self._tell_end(reason, is_alive=False, but=number)
        self._end_run(reason, is_alive=False)

    def _end_run(self, reason: str, *, is_alive: bool) -> None:
        """Ends this process: by its main thread if that can, else from here.

        A process that left in order has finished the step that this one is in, too.
        """
        with self._news:
            if self._end is not None or self._is_over:
                return
            self._end = reason
            can_answer = is_alive or self._is_waiting
            self._news.notify_all()
        self._stop.ask(reason, 1)
        if not can_answer:
            self._stop.leave(reason)


def exit_at_once(status: int) -> None:
    """Ends a process of a group without the cleanup of JAX, which waits for the other processes."""
    if joined is None:
        return
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
    os._exit(status)
