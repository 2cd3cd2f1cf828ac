"""How a program ends: by Ctrl-C even if the first one is lost on the way, and in one line."""

import signal
import subprocess
import sys

import pytest

from mlpf_jax import cli

_PROGRAM = """
import sys, threading
from absl import flags
from mlpf_jax import cli

cli._INSIST_S = 0.05

def main(argv):
    cli.insist_on_interrupts()
    print("ready", flush=True)
    lost = threading.Event()
    while True:
        try:
            threading.Event().wait(60)
        except KeyboardInterrupt:
            if lost.is_set():
                raise
            lost.set()  # as JAX sometimes does

cli.run(main)
"""


def test_an_interrupt_that_is_lost_comes_again():
    with subprocess.Popen(
        [sys.executable, "-c", _PROGRAM], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout.readline() == "ready\n"
        process.send_signal(signal.SIGINT)
        _, said = process.communicate()

    assert process.returncode == 130
    assert said == "error: interrupted: nothing half-written was left behind.\n"


def test_an_interrupt_that_is_lost_where_nothing_can_be_raised_comes_again_without_a_traceback():
    program = """
import threading
from mlpf_jax import cli

class Loses:
    def __del__(self):
        print("ready", flush=True)
        threading.Event().wait(60)

class Fails:
    def __del__(self):
        raise ValueError("told")

def main(argv):
    cli.insist_on_interrupts()
    Fails()
    Loses()
    threading.Event().wait(60)

cli.run(main)
"""
    with subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout.readline() == "ready\n"
        process.send_signal(signal.SIGINT)
        _, said = process.communicate()

    assert process.returncode == 130
    assert "ValueError: told" in said
    assert "KeyboardInterrupt" not in said
    assert said.endswith("error: interrupted: nothing half-written was left behind.\n")


def test_an_interrupt_that_is_ignored_stays_ignored():
    code = (
        "import signal; signal.signal(signal.SIGINT, signal.SIG_IGN);"
        "from mlpf_jax import cli; cli.insist_on_interrupts();"
        "assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize(
    ("reason", "line"),
    [
        ("--mode=x: no such mode.", "error: --mode=x: no such mode."),
        (FileNotFoundError(2, "No such file", "a.json"), "error: a.json: No such file."),
        (OSError("the disk is full"), "error: the disk is full"),
        (ValueError("wrong\nand why"), "error: wrong"),
        (RuntimeError(), "error: RuntimeError"),
    ],
)
def test_what_is_wrong_is_one_line(capsys, reason, line):
    assert cli.complain(reason, cli.FAILURE) == 1

    assert capsys.readouterr().err.splitlines() == [line]
