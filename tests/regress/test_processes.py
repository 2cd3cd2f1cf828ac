"""A program that is run ends, whatever happens, with all that it started."""

import os
import signal
import sys
import threading

import pytest

from mlpf_jax.regress import processes


def run(tmp_path, code, *, program=(sys.executable, "-c"), timeout_s=60.0):
    processes.run(
        [*program, code],
        folder=tmp_path,
        environ=os.environ,
        log=tmp_path / "log.txt",
        timeout_s=timeout_s,
    )


def is_alive(number):
    try:
        os.kill(number, 0)
    except ProcessLookupError:
        return False
    # A zombie whose parent is not us any more is dead too.
    with open(f"/proc/{number}/stat") as file:
        return file.read().rpartition(")")[2].split()[0] != "Z"


def test_what_it_prints_is_kept(tmp_path):
    run(tmp_path, "print('out'); import sys; print('err', file=sys.stderr)")
    assert set((tmp_path / "log.txt").read_text().split()) == {"out", "err"}


def test_a_failure_tells_the_status_and_the_last_lines(tmp_path):
    with pytest.raises(processes.RunFailedError, match="ended with exit status 7") as caught:
        run(tmp_path, "import sys\nfor i in range(99): print(i)\nsys.exit(7)")
    assert caught.value.last_lines == tuple(str(i) for i in range(87, 99))


def test_a_signal_is_named(tmp_path):
    with pytest.raises(processes.RunFailedError, match="was ended by SIGABRT"):
        run(tmp_path, "import os; os.abort()")


def test_a_program_that_is_not_there_is_a_failure(tmp_path):
    with pytest.raises(processes.RunFailedError, match="does not start: No such file"):
        processes.run(
            ["/nowhere"], folder=tmp_path, environ={}, log=tmp_path / "log", timeout_s=1.0
        )


# Tells its child's number and waits for ever.
SHELL = ("sh", "-c")
WITH_CHILD = "sleep 600 & echo $! > started; mv started child; sleep 600"


def test_a_timeout_ends_the_program_and_its_children(tmp_path):
    with pytest.raises(processes.RunFailedError, match="killed after 2 s"):
        run(tmp_path, WITH_CHILD, program=SHELL, timeout_s=2.0)
    wait_for_death(int((tmp_path / "child").read_text()))


def test_sigterm_ends_the_program_and_its_children(tmp_path):
    def terminate():
        while not (tmp_path / "child").exists():
            threading.Event().wait(0.05)
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=terminate).start()
    before = signal.getsignal(signal.SIGTERM)

    with pytest.raises(KeyboardInterrupt), processes.interrupted_by_terminate():
        run(tmp_path, WITH_CHILD, program=SHELL)

    assert signal.getsignal(signal.SIGTERM) is before
    wait_for_death(int((tmp_path / "child").read_text()))


def wait_for_death(number):
    for _ in range(200):
        if not is_alive(number):
            return
        threading.Event().wait(0.05)
    pytest.fail(f"process {number} lives")
