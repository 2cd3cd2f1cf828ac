"""Repeating the command gives the same bytes after any interruption."""

import os
import pathlib
import random
import signal
import subprocess
import sys
import time

import pytest

from mlpf_jax import atomic
from mlpf_jax.events import store

ROOT = pathlib.Path(__file__).parents[2]
MODULE = "mlpf_jax.commands.make_dataset"
NUM_EVENTS = 120  # two shards and a short one
DIGEST_OF_32_TTBAR = "6c414364d0b88e5a09a5a274c3d2b60c674c9bc6df03462232ad5e8829ae397f"


def command(out, *flags):
    return [sys.executable, "-m", "tools.make_dataset", f"--out={out}", *flags]


def make(out, *flags, timeout=None):
    return subprocess.run(
        command(out, *flags), cwd=ROOT, capture_output=True, text=True, timeout=timeout
    )


def tree(folder):
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    """A set made by one worker without interruption."""
    folder = tmp_path_factory.mktemp("uninterrupted") / "ttbar"
    made = make(folder, "--process=ttbar", f"--events={NUM_EVENTS}", "--workers=1")
    assert made.returncode == 0, made.stderr
    return folder


def test_the_events_are_those_of_the_seed(uninterrupted):
    opened = store.open_store(uninterrupted)

    assert opened.num_events == NUM_EVENTS
    assert opened.digest(32) == DIGEST_OF_32_TTBAR


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(9))
def test_killed_at_random_and_repeated_ends_in_the_same_bytes(tmp_path, uninterrupted, seed):
    moments = random.Random(seed)
    out = tmp_path / "ttbar"
    flags = ("--process=ttbar", f"--events={NUM_EVENTS}", "--workers=2")

    for _ in range(3):
        try:  # the workers of a killed run may still be at it when the next one starts
            make(out, *flags, timeout=moments.uniform(0.3, 2.5))
        except subprocess.TimeoutExpired:
            continue
    made = make(out, *flags, "--verify_data")

    assert made.returncode == 0, made.stderr
    atomic.remove_leftovers(out)
    assert tree(out) == tree(uninterrupted)


def test_interrupted_it_says_so_and_leaves_whole_shards(tmp_path):
    out = tmp_path / "qcd"
    flags = ("--process=qcd", "--events=100000", "--workers=2")
    with subprocess.Popen(
        command(out, *flags), cwd=ROOT, stderr=subprocess.PIPE, text=True
    ) as running:
        while not list(out.glob(".tmp-*")):  # the first shards are being written
            assert running.poll() is None
            time.sleep(0.001)
        os.kill(running.pid, signal.SIGINT)
        _, said = running.communicate()

    assert running.returncode == 130
    assert "repeat the command to resume" in said
    assert "Traceback" not in said
    assert all(path.name.startswith("shard-") for path in out.iterdir())


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--process=minbias", "--events=1"), "should be one of <ttbar|qcd>"),
        (("--process=qcd", "--events=0"), "0 is not a positive integer"),
        (("--process=qcd",), "--events must have a value"),
        (("--process=qcd", "--events=1", "--bank=README.md"), "is not a truth bank"),
        (("--process=qcd", "--events=1", "nonsense"), "stray argument: nonsense"),
        (("--process=qcd", "--events=1", "--evnets=1"), "Unknown command line flag 'evnets'"),
    ],
)
def test_wrong_usage_gets_one_line(run_program, tmp_path, flags, message):
    (tmp_path / "README.md").write_text("no bank")
    flags = [flag.replace("README.md", str(tmp_path / "README.md")) for flag in flags]

    made = run_program(MODULE, f"--out={tmp_path / 'new'}", *flags)

    assert made.returncode == 2
    assert message in made.stderr
    assert made.stderr.count("\n") == 1
    assert not (tmp_path / "new").exists()


def test_a_set_of_other_events_is_not_overwritten(run_program, uninterrupted):
    before = tree(uninterrupted)

    made = run_program(
        MODULE, f"--out={uninterrupted}", "--process=ttbar", "--events=1", "--seed=2"
    )

    assert made.returncode == 2
    assert "seed is 1, not 2" in made.stderr
    assert tree(uninterrupted) == before


def test_a_damaged_file_is_named(run_program, uninterrupted):
    path = uninterrupted / "shard-00001/targets.npy"
    content = path.read_bytes()
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 4]))

    made = run_program(
        MODULE,
        f"--out={uninterrupted}",
        "--process=ttbar",
        f"--events={NUM_EVENTS}",
        "--verify_data",
    )

    path.write_bytes(content)
    assert made.returncode == 1
    assert f"{path} is damaged" in made.stderr
