"""A run is a process that is summarised in one line and never outlives the study."""

import signal

import pytest

from mlpf_jax.study import running
from tests import test_processes


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Runs some code as if it were the benchmark."""
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))

    def run_code(code, *arguments, timeout_s=None):
        (tmp_path / "pretender.py").write_text(code)
        return running.run_main(arguments, tmp_path, timeout_s=timeout_s, module="pretender")

    return run_code


def test_a_run_gets_its_arguments_and_leaves_a_log(run, tmp_path):
    outcome = run("import sys; print(*sys.argv[1:])", "--batch_size=2", "--seed=1")

    assert outcome == running.Outcome(0, "--batch_size=2 --seed=1")
    assert (tmp_path / "log.txt").read_text() == "--batch_size=2 --seed=1\n"


def test_the_error_is_reported_even_if_it_is_not_the_last_line(run):
    lines = "start\nerror: out of \x1b[31mmemory\nbye"
    outcome = run(f"import sys; print({lines!r}, file=sys.stderr); sys.exit(1)")

    assert outcome == running.Outcome(1, "out of memory")


def test_missing_output_is_reported(run):
    assert run("raise SystemExit(3)") == running.Outcome(3, "it had no output")


@pytest.mark.parametrize(
    ("number", "reason"),
    [
        (signal.SIGKILL, "killed, perhaps for lack of memory; its last line: step 1"),
        (signal.SIGABRT, "ended by signal 6; its last line: step 1"),
    ],
)
def test_a_signal_is_reported(run, number, reason):
    code = f"import os; print('step 1', flush=True); os.kill(os.getpid(), {int(number)})"

    assert run(code) == running.Outcome(-number, reason)


def test_where_xla_aborts_its_reason_is_reported_without_the_stack(run):
    told = (
        "F1201 02:43:09.212568 28520 redzone_allocator.cc:248] Check failed: ok",
        "*** Check failure stack trace: ***",
        "    @     0x7f2de8decf34  absl::LogMessage::Flush()",
        "    @     0x7f2e0d4a71f5  (unknown)",
    )
    code = f"import os; print(*{told!r}, sep='\\n', flush=True); os.abort()"

    assert run(code) == running.Outcome(-6, f"ended by signal 6; its last line: {told[0]}")


def test_a_process_that_takes_too_long_is_ended_with_its_children(run, tmp_path):
    child = "import time; time.sleep(600)"
    outcome = run(
        "import pathlib, subprocess, sys, time\n"
        f"child = subprocess.Popen([sys.executable, '-c', {child!r}])\n"
        f"pathlib.Path({str(tmp_path / 'child')!r}).write_text(str(child.pid))\n"
        "time.sleep(600)",
        timeout_s=2.0,
    )

    assert outcome.last_line == "did not end within 2 s"
    test_processes.wait_for_death(int((tmp_path / "child").read_text()))
