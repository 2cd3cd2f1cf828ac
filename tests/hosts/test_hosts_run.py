"""Runs of several processes on this machine: the same result as of one, and a clear end if not."""

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from mlpf_jax.report import hepscore, incomplete

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.slow

HERE = socket.gethostname()
LIMIT_S = 900  # for a test that does not end as it should
WORDS = (
    "--preset=smoke",
    "--num_id_layers=1",
    "--num_energy_layers=1",
    "--num_train_events=16",
    "--num_devices=4",
    "--num_epochs=1",
    "--num_infer_samples=1",
    "--nomeasure_compile",
    "--host_timeout=8",
)
RELATIVE_TOLERANCE = 1e-5  # of the losses: gloo adds in another order


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder for compiled programs and events, which all runs share."""
    return tmp_path_factory.mktemp("shared")


@pytest.fixture(scope="module")
def command(place):
    """Returns a function for the command of a run, and its environment.

    `code` is executed first, in the process of the run.
    """
    kept = {
        name: value
        for name, value in os.environ.items()
        if not re.match("XLA_FLAGS|JAX_|SLURM_|OMPI_|PMI", name)
    }
    environ = kept | {
        "JAX_PLATFORMS": "cpu",
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        "XDG_CACHE_HOME": str(place),
        "TMPDIR": str(place),
        "PYTHONPATH": str(ROOT),
    }

    def of(folder, *arguments, code=""):
        program = f"{code}\nfrom mlpf_jax import main\nmain.run_app()"
        cache = f"--compilation_cache={place / 'compiled'}"
        words = (*WORDS, cache, f"--results_dir={folder}", *arguments)
        return [sys.executable, "-c", program, *words], environ

    return of


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


@pytest.fixture
def start(command):
    """Returns a function that starts some of the processes of a run.

    `different` are arguments of process 1 alone.
    """
    with contextlib.ExitStack() as stack:

        def run(folder, *arguments, number=2, missing=(), code="", different=()):
            address = f"127.0.0.1:{free_port()}"
            started = {}
            for i in set(range(number)) - set(missing):
                own = different if i == 1 else ()
                words, environ = command(folder, *arguments, *own, code=code)
                environ = environ | {
                    "JAX_COORDINATOR_ADDRESS": address,
                    "JAX_NUM_PROCESSES": str(number),
                    "JAX_PROCESS_ID": str(i),
                }
                started[i] = subprocess.Popen(
                    words,
                    cwd=ROOT,
                    env=environ,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.PIPE,
                    text=True,
                )
                stack.callback(started[i].kill)
            return started

        yield run


def ended(process):
    """Returns the exit status and the lines on stderr that are no progress."""
    _, said = process.communicate(timeout=LIMIT_S)
    return process.returncode, [line for line in said.splitlines() if not line.startswith("[")]


def report_of(folder):
    document = json.loads((folder / hepscore.FILE_NAME).read_text())
    hepscore.validate(document)
    return document["report"]["wl-stats"]


@pytest.fixture(scope="module")
def alone(command, tmp_path_factory):
    """The report of one process with as many devices."""
    folder = tmp_path_factory.mktemp("alone")
    words, environ = command(folder)
    subprocess.run(words, cwd=ROOT, env=environ, check=True, capture_output=True)
    return report_of(folder)


def assert_same(stats, alone, number):
    """The losses are those of one process, and the processes have the same weights."""
    for name in ("train_loss", "val_loss", "inference_loss"):
        assert stats[name] == pytest.approx(alone[name], rel=RELATIVE_TOLERANCE)
    assert [one["process_id"] for one in stats["processes"]] == list(range(number))
    assert {one["params_sha256"] for one in stats["processes"]} == {stats["params_sha256"]}
    assert {one["loss_sha256"] for one in stats["processes"]} == {stats["loss_sha256"]}
    for stage in ("training", "inference"):
        assert all(one["step_s"][stage] > 0 for one in stats["processes"])
    assert stats["events_per_epoch"] == alone["events_per_epoch"]
    names = ("sample_events", "sample_elements")
    for phase, told in alone["phases"].items():
        ours = stats["phases"][phase]
        assert [sum(ours[name]) for name in names] == [sum(told[name]) for name in names]


@pytest.mark.parametrize("number", [2, 4])
def test_processes_train_as_one_does(start, alone, tmp_path, number):
    for process in start(tmp_path, number=number).values():
        assert ended(process) == (0, [])

    assert [path.name for path in tmp_path.iterdir()] == [hepscore.FILE_NAME]
    assert_same(report_of(tmp_path), alone, number)


# Does something when a process is about to compile the training step.
_LATER = """
import os, signal
from mlpf_jax import progress
say = progress.Progress.say
def say_and_act(self, text):
    say(self, text)
    if text == "compiling the training step" and os.environ["JAX_PROCESS_ID"] == "{who}":
        {act}
progress.Progress.say = say_and_act
"""
_DIE, _STOP = (f"os.kill(os.getpid(), signal.SIG{name})" for name in ("KILL", "STOP"))


def assert_all_end(started, folder, *words):
    """All end with one line that has these words, and process 0 with an incomplete report."""
    for process in started.values():
        status, said = ended(process)
        assert status == 1, said
        assert len(said) == 1, said
        assert all(word in said[0] for word in words), said[0]
    if 0 in started:
        assert [path.name for path in folder.iterdir()] == [incomplete.FILE_NAME]


@pytest.mark.parametrize(
    ("who", "act", "word"),
    [(1, _DIE, "its connection closed"), (0, _DIE, "its connection closed"), (1, _STOP, "no sign")],
    ids=["killed", "first-killed", "stopped"],
)
def test_the_loss_of_a_process_ends_all(start, tmp_path, who, act, word):
    started = start(tmp_path, number=2, code=_LATER.format(who=who, act=act))
    lost = started.pop(who)

    assert_all_end(started, tmp_path, f"lost process {who} on {HERE}", word)

    lost.kill()
    lost.communicate()
    assert lost.returncode == -signal.SIGKILL


def test_a_process_that_does_not_come_is_told(start, tmp_path):
    started = start(tmp_path, missing=(1,))

    assert_all_end(started, tmp_path, "process 1 of 2 did not come within 8 s")


def test_a_process_with_other_settings_is_told(start, tmp_path):
    started = start(tmp_path, different=("--seed=9",))

    assert_all_end(started, tmp_path, f"process 1 on {HERE} differs: --seed is 9 there")
