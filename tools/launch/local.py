"""Starts one run of the benchmark in several processes on this machine.

    python -m tools.launch.local --processes=4 -- --preset=smoke --num_devices=4

Arguments after `--` are settings of the run, as for mlpf_jax.main. It shows how processes work
together; on one machine they share its cores. Exit status: that of the first process that failed,
or 0; 2 for wrong usage. All processes end with this one.
"""

import contextlib
import functools
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence

from absl import flags

from mlpf_jax import cli, processes

_PROCESSES = flags.DEFINE_integer("processes", 2, "Number of processes.", lower_bound=1)
_GRACE = flags.DEFINE_float(
    "grace_s", 40.0, "Seconds that the others have to end when one process has ended."
)
_POLL_S = 0.1
_PATIENCE_S = 10.0  # on Ctrl-C, for a process to save its state


def main(run_arguments: Sequence[str], argv: Sequence[str]) -> int:
    """Starts the processes and waits for all; returns the first exit status that is not 0."""
    del argv
    with contextlib.ExitStack() as stack, processes.interrupted_by_terminate():
        address = f"127.0.0.1:{_free_port()}"
        started = []
        for number in range(_PROCESSES.value):
            environ = os.environ | {
                "JAX_COORDINATOR_ADDRESS": address,
                "JAX_NUM_PROCESSES": str(_PROCESSES.value),
                "JAX_PROCESS_ID": str(number),
            }
            process = processes.started(
                [sys.executable, "-m", "mlpf_jax.main", *run_arguments],
                env=environ,
                stdin=subprocess.DEVNULL,
                patience_s=_PATIENCE_S,
            )
            started.append(stack.enter_context(process))
        return _wait(started, _GRACE.value)


def _wait(started: Sequence[subprocess.Popen], grace_s: float) -> int:
    """Waits until all have ended, or some time after the first; the rest is killed."""
    first, deadline_s = 0, None
    while any(one.poll() is None for one in started):
        time.sleep(_POLL_S)
        ended = [one.returncode for one in started if one.returncode is not None]
        if ended and deadline_s is None:
            deadline_s = time.monotonic() + grace_s
        first = first or next(filter(None, ended), 0)
        if deadline_s is not None and time.monotonic() > deadline_s:
            late = [i for i, one in enumerate(started) if one.poll() is None]
            for i in late:
                started[i].kill()
            cli.complain(f"killed {len(late)} processes that did not end: {late}", cli.FAILURE)
            return first or cli.FAILURE
    first = first or next(filter(None, (one.returncode for one in started)), 0)
    return first if first >= 0 else 128 - first


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


def run_app() -> None:
    """Runs the program."""
    run_arguments: list[str] = []
    if "--" in sys.argv:
        start = sys.argv.index("--")
        sys.argv, run_arguments = sys.argv[:start], sys.argv[start + 1 :]
    signal.signal(signal.SIGINT, signal.default_int_handler)
    cli.run(functools.partial(main, run_arguments))


if __name__ == "__main__":
    run_app()
