"""Runs of several processes on this machine: the same result as of one, and a clear end if not."""

import contextlib
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from mlpf_jax.report import hepscore, incomplete
from tests.hosts import namespaces, slurm

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.slow

HERE = socket.gethostname()
LIMIT_S = 600  # for a test that does not end as it should
WORDS = (
    "--preset=smoke",
    "--num_id_layers=1",
    "--num_energy_layers=1",
    "--num_train_events=24",
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


@contextlib.contextmanager
def starting(command):
    """Yields a function that starts some of the processes of a run.

    `different` are arguments of process 1 alone; `inside` are the words before the command of each
    process, which run it on another "host".
    """
    with contextlib.ExitStack() as stack:

        def run(folder, *arguments, number=2, missing=(), code="", different=(), inside=None):
            address = f"{namespaces.ADDRESSES[0] if inside else '127.0.0.1'}:{free_port()}"
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
                    [*inside[i], *words] if inside else words,
                    cwd=ROOT,
                    env=environ,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.PIPE,
                    text=True,
                )
                stack.callback(started[i].kill)
            return started

        yield run


@pytest.fixture
def start(command):
    with starting(command) as run:
        yield run


@pytest.fixture
def two_hosts():
    try:
        with namespaces.two_hosts() as inside:
            yield inside
    except namespaces.NotHereError as error:
        pytest.skip(str(error))


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


@pytest.fixture(scope="module")
def pair(command, tmp_path_factory):
    """The report of two processes with as many devices, and all that they left."""
    folder = tmp_path_factory.mktemp("pair")
    with starting(command) as run:
        for process in run(folder).values():
            assert ended(process) == (0, [])
    assert [path.name for path in folder.iterdir()] == [hepscore.FILE_NAME]
    return report_of(folder)


def assert_same(stats, alone, number):
    """The losses are those of one process, and the processes have the same weights."""
    for name in ("train_loss", "val_loss", "inference_loss"):
        assert stats[name] == pytest.approx(alone[name], rel=RELATIVE_TOLERANCE)
    assert [one["process_id"] for one in stats["processes"]] == list(range(number))
    assert {one["params_sha256"] for one in stats["processes"]} == {stats["params_sha256"]}
    assert {one["loss_sha256"] for one in stats["processes"]} == {stats["loss_sha256"]}
    assert stats["batch_sha256"] == alone["batch_sha256"]
    for stage in ("training", "inference"):
        assert all(one["step_s"][stage] > 0 for one in stats["processes"])
    assert stats["events_per_epoch"] == alone["events_per_epoch"]
    names = ("sample_events", "sample_elements")
    for phase, told in alone["phases"].items():
        ours = stats["phases"][phase]
        assert [sum(ours[name]) for name in names] == [sum(told[name]) for name in names]


def test_two_processes_train_as_one_does(pair, alone):
    assert_same(pair, alone, 2)


def launched(words, environ):
    """Runs one launcher, which starts all processes of a run."""
    done = subprocess.run(
        words, cwd=ROOT, env=environ, capture_output=True, text=True, timeout=LIMIT_S, check=False
    )
    assert done.returncode == 0, done.stderr


def test_mpirun_starts_one_run_of_four_processes(command, alone, tmp_path):
    if shutil.which("mpirun") is None:
        pytest.skip("mpirun: not installed (Debian: openmpi-bin)")
    words, environ = command(tmp_path)
    options = ["--allow-run-as-root", "--oversubscribe", "--bind-to", "none"]

    launched(["mpirun", *options, "-n", "4", *words], environ)

    assert_same(report_of(tmp_path), alone, 4)


def test_srun_starts_one_run(command, pair, alone, tmp_path, tmp_path_factory):
    if (why := slurm.missing()) is not None:
        pytest.skip(why)
    words, environ = command(tmp_path)

    with slurm.cluster(tmp_path_factory.mktemp("slurm")) as of_cluster:
        launched(["srun", "-n", "2", *words], environ | of_cluster)

    assert_same(report_of(tmp_path), alone, 2)
    assert digests(report_of(tmp_path)) == digests(pair)


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


def test_the_all_reduce_and_its_share_of_a_step_are_measured(command, tmp_path):
    out = tmp_path / "allreduce.json"
    words = [sys.executable, "-m", "benchmarks.allreduce", "--num_devices=2", f"--out={out}"]
    words += ["--max_mb=0.02", "--seconds=0.01", "--step=small", "--num_elements=256"]
    _, environ = command(tmp_path)
    place = {"JAX_COORDINATOR_ADDRESS": f"127.0.0.1:{free_port()}", "JAX_NUM_PROCESSES": "2"}
    streams = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE, "text": True}
    with contextlib.ExitStack() as stack:
        started = []
        for i in range(2):
            own = environ | place | {"JAX_PROCESS_ID": str(i)}
            started.append(subprocess.Popen(words, cwd=ROOT, env=own, **streams))
            stack.callback(started[-1].kill)
        for process in started:
            assert ended(process) == (0, [])

    found = json.loads(out.read_text())
    assert [line["bytes"] for line in found["lines"]] == [1000, 4000, 16000, 20000]
    for line in found["lines"]:
        assert line["wrong"] == 0
        assert line["algbw_gb_s"] == pytest.approx(line["bytes"] / line["time_us"] / 1e3)
        assert line["busbw_gb_s"] == pytest.approx(line["algbw_gb_s"])  # of two devices
    assert 0 <= found["step"]["share"] < 1
    assert found["step"]["efficiency"] == found["step"]["alone_s"] / found["step"]["with_s"]


def test_a_link_that_is_cut_ends_both_ends(start, two_hosts, tmp_path):
    cut = _LATER.format(who=1, act=f"os.system({namespaces.CUT!r})")

    started = start(tmp_path, code=cut, inside=two_hosts)

    for who, process in started.items():
        status, said = ended(process)
        assert (status, len(said)) == (1, 1), said
        assert f"lost process {1 - who} on {HERE}: no sign of life for 6 s" in said[0]
    assert [path.name for path in tmp_path.iterdir()] == [incomplete.FILE_NAME]


def test_a_process_that_does_not_come_is_told(start, tmp_path):
    started = start(tmp_path, missing=(1,))

    assert_all_end(started, tmp_path, "process 1 of 2 did not come within 8 s")


def test_a_process_with_other_settings_is_told(start, tmp_path):
    started = start(tmp_path, different=("--seed=9",))

    assert_all_end(started, tmp_path, f"process 1 on {HERE} differs: --seed is 9 there")


def digests(stats):
    return [stats[name] for name in ("loss_sha256", "params_sha256", "batch_sha256")]


# Kills process 1 in the second training step, when process 0 has saved the first.
_DIE_IN_STEP_2 = _LATER.format(
    who=1,
    act="""
        from mlpf_jax.run import loop
        advance = loop._Trainer._advance
        def advance_and_die(self, num_left):
            if self._track.num_steps == 1:
                self._train_step = lambda *given: os.kill(os.getpid(), signal.SIGKILL)
            return advance(self, num_left)
        loop._Trainer._advance = advance_and_die
""",
)
# Gives process 1 another machine.
_REPLACED = """
import os, pathlib, platform
from mlpf_jax.hosts import meeting
if os.environ["JAX_PROCESS_ID"] == "1":
    platform.node = lambda: "replacement"
    meeting._BOOT_ID = pathlib.Path("/proc/sys/kernel/random/uuid")
"""


@pytest.fixture(scope="module")
def interrupted(command, tmp_path_factory):
    """The checkpoints of a run in two processes that ended when one died in the second step."""
    kept = tmp_path_factory.mktemp("interrupted") / "checkpoints"
    words = (f"--checkpoint_dir={kept}", "--checkpoint_every=1")
    with starting(command) as run:
        first, lost = run(kept.parent / "results", *words, code=_DIE_IN_STEP_2).values()
        status, said = ended(first)
        assert ended(lost)[0] == -signal.SIGKILL
    assert status == 1, said
    assert "The same command goes on from step 1." in said[0]
    return kept


@pytest.fixture
def kept(interrupted, tmp_path):
    """The flags of a run that goes on from a copy of these checkpoints."""
    folder = tmp_path / "checkpoints"
    shutil.copytree(interrupted, folder)
    return (f"--checkpoint_dir={folder}", "--checkpoint_every=1")


def test_the_same_command_goes_on_after_a_fault(start, kept, pair, tmp_path):
    weights = tmp_path / "weights"

    for process in start(tmp_path / "results", *kept, f"--checkpoint={weights}").values():
        assert ended(process) == (0, [])

    assert weights.is_dir()
    stats = report_of(tmp_path / "results")
    assert [one["num_steps"] for one in stats["segments"]] == [1, 2]
    assert digests(stats) == digests(pair)
    assert len({one["params_sha256"] for one in stats["processes"]}) == 1


def test_a_replaced_host_goes_on_without_a_score(start, kept, pair, tmp_path):
    words = (*kept, "--resume=must", "--allow_change")

    for process in start(tmp_path / "results", *words, code=_REPLACED).values():
        assert ended(process) == (0, [])

    document = json.loads((tmp_path / "results" / hepscore.UNSCORED_FILE_NAME).read_text())
    stats = document["report"]["wl-stats"]
    assert [one["host"] for one in stats["processes"]] == [HERE, "replacement"]
    assert digests(stats) == digests(pair)


def test_a_replaced_host_is_refused_without_the_flags(start, kept, tmp_path):
    started = start(tmp_path / "results", *kept, code=_REPLACED)

    way_out = "With --resume=must --allow_change it goes on"
    assert_all_end(started, tmp_path / "results", "host of process 1: ", way_out)
