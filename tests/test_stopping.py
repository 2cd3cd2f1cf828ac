"""A process ends in good order: by a signal, by its time limit, or because it hangs."""

import fcntl
import os
import resource
import signal
import subprocess
import sys
import textwrap
import threading
import types

import pytest

from mlpf_jax import stopping


def said(program, *signals):
    """Runs a program that prints "ready", sends it signals; returns its status and its stderr."""
    head = (
        "import os, sys, threading, time\n"
        "from mlpf_jax import cli, stopping\n"
        "stopping._TICK_S = 0.02\n"
        "stopping._REPEAT_S = 0.0\n"
        "stop = stopping.Stop()\n"
        "def main(argv):\n"
        "    stop.__enter__()\n"
    )
    text = head + textwrap.indent(textwrap.dedent(program), "    ") + "cli.run(main)\n"
    with subprocess.Popen(
        [sys.executable, "-c", text], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        for number in signals:
            assert process.stdout.readline() == "ready\n"
            process.send_signal(number)
        _, told = process.communicate()
    return process.returncode, told


def ended(program, *signals):
    """Runs a program as `said` does; returns its status and its last line."""
    status, told = said(program, *signals)
    return status, told.splitlines()[-1]


def test_an_interrupt_that_is_lost_comes_again():
    program = """
    stopping._INSIST_S = 0.05
    print("ready", flush=True)
    lost = threading.Event()
    while True:
        try:
            threading.Event().wait(60)
        except KeyboardInterrupt:
            if lost.is_set():
                raise
            lost.set()  # as JAX sometimes does
    """
    assert said(program, signal.SIGINT) == (130, "error: SIGINT\n")


def test_an_interrupt_that_is_lost_where_nothing_can_be_raised_comes_again_without_a_traceback():
    program = """
    stopping._INSIST_S = 0.05

    class Loses:
        def __del__(self):
            print("ready", flush=True)
            threading.Event().wait(60)

    class Fails:
        def __del__(self):
            raise ValueError("told")

    Fails()
    Loses()
    threading.Event().wait(60)
    """
    status, told = said(program, signal.SIGINT)

    assert status == 130
    assert "ValueError: told" in told
    assert "KeyboardInterrupt" not in told
    assert told.endswith("error: SIGINT\n")


def test_an_interrupt_that_is_ignored_stays_ignored():
    code = (
        "import signal; signal.signal(signal.SIGINT, signal.SIG_IGN);"
        "from mlpf_jax import stopping; stopping.Stop().__enter__();"
        "assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_handler_that_a_library_has_set_fails_no_run():
    code = textwrap.dedent("""
        import signal
        from mlpf_jax import processes, stopping

        before = signal.signal

        def set_handler(number, handler):
            before(number, handler)  # and returns None, as for a handler that is not Python's

        signal.signal, signal.getsignal = set_handler, lambda number: None
        with stopping.Stop(), processes.interrupted_by_terminate():
            pass
    """)
    subprocess.run([sys.executable, "-c", code], check=True)


WAIT = "print('ready', flush=True); threading.Event().wait(60)\n"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGHUP])
def test_a_signal_ends_a_wait_with_its_status(number):
    status = stopping.INTERRUPTED if number == signal.SIGINT else stopping.TERMINATED

    assert ended(WAIT, number) == (status, f"error: {number.name}")


def test_a_signal_is_deferred_until_it_is_polled():
    program = """
    with stop.deferred():
        print("ready", flush=True)
        while stop.reason is None:
            time.sleep(0.01)
        print("ready", flush=True)
        stop.poll()
    """
    assert ended(program, signal.SIGTERM) == (143, "error: SIGTERM")


def test_a_second_signal_ends_at_once_what_does_not_answer():
    program = """
    stop.last_words = lambda reason: f"last words ({reason})"
    with stop.deferred():
        print("ready", flush=True)
        while stop._asked_s is None:  # until the thread has seen the first one
            time.sleep(0.01)
        print("ready", flush=True)
        threading.Event().wait(60)
    """
    said = "error: last words (a second signal)"

    assert ended(program, signal.SIGTERM, signal.SIGTERM) == (143, said)


@pytest.fixture
def stop(monkeypatch):
    """It does not end this process. `now` is its time, and `left` why it would have ended."""
    stop = stopping.Stop()
    stop.now, stop.left = 0.0, []
    clock = types.SimpleNamespace(monotonic=lambda: stop.now)
    monkeypatch.setattr(stopping, "time", clock)
    monkeypatch.setattr(stop, "leave", stop.left.append)
    return stop


@pytest.mark.parametrize("was_read_first", [True, False])
def test_a_signal_that_comes_twice_at_once_is_no_second_one(stop, was_read_first):
    """The command `timeout` sends it to the process and to its group."""
    if was_read_first:
        stop._tick([15], True)
    with pytest.raises(stopping.Stopped):
        stop._handle(signal.SIGTERM, None)
    stop.now = 0.1
    stop._handle(signal.SIGTERM, None)
    stop._tick([15, 15], True)
    assert stop.left == []

    stop.now = 1.5
    stop._tick([15], True)
    assert stop.left == ["a second signal"]


def test_a_signal_is_read_from_a_descriptor_of_any_number(stop):
    """A launcher may leave a thousand open descriptors to the process."""
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(limits[1], 2048), limits[1]))
    reading, writing = os.pipe()
    try:
        os.write(writing, bytes([signal.SIGTERM]))
        high = fcntl.fcntl(reading, fcntl.F_DUPFD_CLOEXEC, 1024)
    finally:
        os.close(reading)
        os.close(writing)
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)

    stop._watch(high)

    assert stop.reason == "SIGTERM"


def test_a_slow_save_has_more_time_to_end(stop):
    said = "SIGTERM; it did not answer"
    with stop.deferred(), stop.saving():
        stop._tick([15], True)
        stop.now = 20.0
        stop._tick([], False)
        assert stop.left == []

        stop.now = 31.0
        stop._tick([], False)
        assert stop.left == [said]


def test_the_last_words_are_said_although_standard_output_is_full():
    program = """
    os.dup2(os.open("/dev/full", os.O_WRONLY), 1)
    print("it stays in the buffer")
    stop.leave("lost process 1")
    """
    assert ended(program) == (1, "error: stopped (lost process 1) while starting.")


def test_a_pipe_that_nobody_empties_does_not_keep_the_process_alive(monkeypatch):
    is_empty = threading.Event()
    full = types.SimpleNamespace(write=lambda text: is_empty.wait(), flush=lambda: None)
    monkeypatch.setattr(sys, "stderr", full)
    monkeypatch.setattr(stopping, "_WORDS_S", 0.02)
    monkeypatch.setattr(stopping.os, "_exit", sys.exit)

    with pytest.raises(SystemExit, match="1"):
        stopping.Stop().leave("SIGTERM")

    is_empty.set()


def test_what_does_not_answer_is_ended_from_outside():
    """As in XLA's compiler, where no signal handler of Python runs."""
    program = """
    stopping._ANSWER_S = 0.1
    stop.last_words = lambda reason: f"last words ({reason})"
    with stop.deferred():
        print("ready", flush=True)
        threading.Event().wait(60)
    """
    said = "error: last words (SIGTERM; it did not answer)"

    assert ended(program, signal.SIGTERM) == (143, said)


def test_a_time_limit_ends_the_process_by_itself():
    program = """
    stop.limit(minutes=0.042, minutes_without_progress=0.0)  # half of the time to answer, and more
    threading.Event().wait(60)
    """
    assert ended(program) == (1, "error: --time_limit")


def test_a_time_limit_leaves_time_for_another_step():
    stop = stopping.Stop()
    stop.limit(minutes=1.0, minutes_without_progress=0.0)
    stop.poll()

    stop.progressed(31.0)

    with pytest.raises(stopping.Stopped, match="--time_limit"):
        stop.poll()


def test_a_hung_process_tells_its_stacks(tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    program = """
    stop.limit(minutes=None, minutes_without_progress=0.0005)
    with stop.deferred():
        threading.Event().wait(60)
    """
    status, said = ended(program)

    assert status == 1
    assert said.startswith("error: stopped (no progress for")
    (stacks,) = tmp_path.glob("mlpf-jax-stacks-*.txt")
    assert str(stacks) in said
    assert "in wait" in stacks.read_text()


def test_stacks_that_cannot_be_written_do_not_keep_the_process_alive(stop, monkeypatch):
    is_back = threading.Event()  # the file system of temporary files

    def mkstemp(**names):
        is_back.wait()
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(stopping.tempfile, "mkstemp", mkstemp)
    monkeypatch.setattr(stopping, "_WORDS_S", 0.02)
    stop.limit(minutes=None, minutes_without_progress=1e-9)

    stop._watch_the_clock(was_early=False)

    is_back.set()
    assert stop.left == ["no progress for 0 s (stacks of all threads: none within 0.02 s)"]


def test_last_words_that_cannot_be_written_do_not_keep_the_process_alive(monkeypatch, capsys):
    class Left(Exception):
        pass

    def leave(status):
        raise Left(status)

    is_back = threading.Event()  # the file system of the report
    stop = stopping.Stop()
    stop.last_words = lambda reason: str(is_back.wait())
    monkeypatch.setattr(stopping, "_WORDS_S", 0.02)
    monkeypatch.setattr(stopping.os, "_exit", leave)

    with pytest.raises(Left, match="1"):
        stop.leave("lost process 1")

    is_back.set()
    assert capsys.readouterr().err == "error: stopped (lost process 1).\n"


def test_what_was_handled_before_is_handled_again():
    before = signal.getsignal(signal.SIGTERM)
    with stopping.Stop():
        assert signal.getsignal(signal.SIGTERM) != before

    assert signal.getsignal(signal.SIGTERM) == before
    assert signal.set_wakeup_fd(-1) == -1
    for thread in threading.enumerate():
        if thread.name == "stop":
            thread.join()
