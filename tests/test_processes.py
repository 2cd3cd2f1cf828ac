"""A program and its children end in all cases."""

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from mlpf_jax import processes

ROOT = Path(__file__).parents[1]


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
        with open(f"/proc/{number}/stat") as file:
            state = file.read().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state not in "ZX"  # a zombie whose parent is not us any more is dead, too


def test_the_output_of_a_program_is_logged(tmp_path):
    run(tmp_path, "print('out'); import sys; print('err', file=sys.stderr)")
    assert set((tmp_path / "log.txt").read_text().split()) == {"out", "err"}


def test_a_failure_tells_the_status_and_the_last_lines(tmp_path):
    with pytest.raises(processes.RunFailedError, match="ended with exit status 7") as caught:
        run(tmp_path, "import sys\nfor i in range(99): print(i)\nsys.exit(7)")
    assert caught.value.last_lines == tuple(str(i) for i in range(87, 99))


def test_output_whose_file_was_removed_has_no_last_lines(tmp_path):
    assert processes.last_lines(tmp_path / "gone") == []


@pytest.mark.parametrize(("number", "name"), [(signal.SIGABRT, "SIGABRT"), (35, "signal 35")])
def test_a_signal_is_named(tmp_path, number, name):
    with pytest.raises(processes.RunFailedError, match=f"was ended by {name}"):
        run(tmp_path, f"import os; os.kill(os.getpid(), {int(number)})")


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


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_the_program_and_its_children(tmp_path, number):
    def terminate():
        while not (tmp_path / "child").exists():
            threading.Event().wait(0.05)
        os.kill(os.getpid(), number)

    threading.Thread(target=terminate).start()
    before = signal.getsignal(number)

    with pytest.raises(KeyboardInterrupt) as ended, processes.interrupted_by_terminate():
        run(tmp_path, WITH_CHILD, program=SHELL)

    assert ended.value.status == 143
    assert signal.getsignal(number) is before
    wait_for_death(int((tmp_path / "child").read_text()))


def test_a_signal_in_the_midst_of_the_start_leaves_nothing_running(tmp_path, signal_in_start):
    started = signal_in_start(signal.SIGTERM)
    with pytest.raises(processes.Terminated), processes.interrupted_by_terminate():
        run(tmp_path, "sleep 600", program=SHELL)

    status = started[-1].poll()
    started[-1].kill()
    assert status == -signal.SIGKILL


STARTS = """
import sys
from mlpf_jax import processes
with processes.started(["sh", "-c", sys.argv[1]]) as process:
    process.wait()
"""


def test_a_killed_process_leaves_no_program_and_no_child_running(tmp_path):
    with subprocess.Popen(
        [sys.executable, "-c", STARTS, f"echo $$ > program; {WITH_CHILD}"],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    ) as parent:
        while not (tmp_path / "child").exists():
            threading.Event().wait(0.05)
        parent.kill()

    for name in ("program", "child"):
        wait_for_death(int((tmp_path / name).read_text()))


def test_a_lost_terminal_that_is_ignored_stays_ignored():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with processes.interrupted_by_terminate():
            os.kill(os.getpid(), signal.SIGHUP)
        assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


OBEYS = "trap 'echo asked > asked; exit 3' INT; echo up; while :; do sleep 0.05; done"
STUBBORN = "trap '' INT; echo up; while :; do sleep 0.05; done"


@pytest.mark.parametrize(("code", "is_asked"), [(OBEYS, True), (STUBBORN, False)])
def test_with_patience_a_program_is_asked_before_it_is_killed(tmp_path, code, is_asked):
    with pytest.raises(subprocess.TimeoutExpired):
        processes.status_of(
            [*SHELL, code],
            log=tmp_path / "log.txt",
            folder=tmp_path,
            timeout_s=1.0,
            patience_s=1.0,
        )
    assert processes.tail(tmp_path / "log.txt") == ["up"]
    assert (tmp_path / "asked").exists() == is_asked


def test_sigterm_twice_interrupts_no_cleanup():
    with processes.interrupted_by_terminate():
        with pytest.raises(processes.Terminated):
            os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGTERM)

    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL


def test_an_interrupt_of_the_patience_kills_at_once():
    command = [*SHELL, STUBBORN]
    with subprocess.Popen(command, stdout=subprocess.PIPE, start_new_session=True) as process:
        assert process.stdout is not None
        process.stdout.readline()  # now it ignores what it is asked for
        threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGINT)).start()

        with pytest.raises(KeyboardInterrupt), processes.ended(process, patience_s=60.0):
            pass

    assert process.returncode == -signal.SIGKILL


def wait_for_death(number):
    for _ in range(200):
        if not is_alive(number):
            return
        threading.Event().wait(0.05)
    pytest.fail(f"process {number} lives")
