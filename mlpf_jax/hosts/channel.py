"""Messages between two processes: lines of JSON over a socket, limited in length."""

import contextlib
import json
import math
import select
import socket
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

MOST_BYTES = 256 * 2**20  # of a message, as of the record of a checkpoint, which is one
Message = Mapping[str, Any]
Clock = Callable[[], float]  # seconds


class Closed(Exception):
    """The other process has closed the connection, or does not speak this protocol."""


class Channel:
    """One end of a connection. Any thread may send; one thread receives."""

    def __init__(
        self,
        line: socket.socket,
        *,
        patience_s: float,
        most_bytes: int = MOST_BYTES,
        clock: Clock = time.monotonic,
    ):
        """A message that the other end does not take for `patience_s` counts as not taken."""
        line.settimeout(patience_s)
        self.most_bytes = most_bytes
        self.heard_s = clock()  # when something was last received
        self._line, self._clock = line, clock
        self._unread = bytearray()
        self._sending = threading.Lock()

    def fileno(self) -> int:
        """The descriptor, for a selector."""
        return self._line.fileno()

    def send(self, message: Message, within_s: float | None = None) -> None:
        """Sends a message. One that cannot be sent whole closes the connection for both ends.

        `within_s` is for a short one whose sender must not wait for long: behind a cut link, the
        buffer of the connection may be full.

        Raises:
            Closed: if it cannot be sent.
        """
        content = json.dumps(message).encode() + b"\n"
        if not self._sending.acquire(timeout=-1 if within_s is None else within_s):
            raise Closed("it takes nothing")
        try:
            if within_s is not None and not self._has_room(within_s):
                raise Closed("it takes nothing")
            self._line.sendall(content)
        except OSError as error:
            with contextlib.suppress(OSError):  # a part of it may have been sent
                self._line.shutdown(socket.SHUT_RDWR)
            raise Closed(error.strerror or "it takes nothing") from None
        finally:
            self._sending.release()

    def _has_room(self, within_s: float) -> bool:
        if self._line.fileno() < 0:  # closed
            return False
        waiting = select.poll()  # `select.select` knows no descriptor above 1023
        waiting.register(self._line, select.POLLOUT)
        return bool(waiting.poll(1000 * within_s))

    def receive(self) -> list[Message]:
        """Returns the messages that have arrived in full; waits for some bytes.

        Raises:
            Closed: if the connection is closed, or something else than a message came.
        """
        try:
            received = self._line.recv(2**16)
        except OSError as error:
            raise Closed(error.strerror or "nothing came") from None
        if not received:
            raise Closed("its connection closed")
        self.heard_s = self._clock()
        self._unread += received
        lines: list[bytearray] = []
        if b"\n" in received:
            *lines, self._unread = self._unread.split(b"\n")
        if len(self._unread) > self.most_bytes:
            raise Closed("its message is too long")
        return [_read(bytes(line)) for line in lines]

    def close(self) -> None:
        """Closes the connection; what was sent arrives."""
        self._line.close()


def _read(line: bytes) -> Message:
    try:
        message = json.loads(line, parse_constant=_constant)
    except (ValueError, RecursionError):
        raise Closed("it does not speak this protocol") from None
    if not isinstance(message, dict):
        raise Closed("it does not speak this protocol")
    return message


def _constant(name: str) -> float:
    return {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}[name]
