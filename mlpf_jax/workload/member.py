"""One copy of a workload: a run that waits for the other copies before and after each phase.

    python -P -m mlpf_jax.workload.member DESCRIPTOR --preset=site --results_dir=proc_1

The descriptor is a socket to the process that started the copies. It gets one line of JSON when
this copy is ready for a phase, and one when it has ended the phase; for each, it answers one byte
when all copies have got there. This process ends when that one does.
"""

import contextlib
import json
import os
import runpy
import socket
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

from mlpf_jax.measure import window


class Meeting:
    """The meeting of copies, by messages over a socket."""

    def __init__(self, line: socket.socket, leave: Callable[[int], object] = os._exit):
        """Uses `line` to the starter; calls `leave` with an exit status when that is gone."""
        self._line = line
        self._leave = leave
        self._released = threading.Semaphore(0)
        self._start_ns = 0
        threading.Thread(target=self._listen, daemon=True).start()

    def start(self, phase: str) -> None:
        """Waits until all copies are ready for the phase."""
        self._send({"phase": phase})
        self._released.acquire()
        self._start_ns = time.monotonic_ns()

    def end(self, phase: str, work: Callable[[], Any]) -> None:
        """Keeps the machine busy with `work` until all copies have ended the phase."""
        self._send({"phase": phase, "start_ns": self._start_ns, "end_ns": time.monotonic_ns()})
        while not self._released.acquire(blocking=False):
            work()

    def _send(self, message: dict[str, Any]) -> None:
        self._line.sendall(json.dumps(message).encode() + b"\n")

    def _listen(self) -> None:
        with contextlib.suppress(OSError):  # a starter that was killed before it read all
            while self._line.recv(1):
                self._released.release()
        self._leave(1)


def main() -> None:
    """Runs the benchmark with the arguments after the first."""
    descriptor = int(sys.argv[1])
    os.set_inheritable(descriptor, False)
    window.meeting = Meeting(socket.socket(fileno=descriptor))
    sys.argv = ["mlpf_jax.main", *sys.argv[2:]]
    runpy.run_module("mlpf_jax.main", run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
