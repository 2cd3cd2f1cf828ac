"""Runs that are killed at random times end with the bits of an undisturbed run."""

import random
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.kills import forking, killing

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("said", "phase"),
    [
        ("", "starting"),
        ("[00:01] simulating qcd: 50/50", "simulating"),
        ("[00:12] compiled in 3.0 s", "compiling"),
        ("[00:12] epoch 3/8: 0.3 s, loss 1", "training"),
        ("[00:12] inference: 5/5, 400 events/s", "inferring"),
    ],
)
def test_the_phase_of_a_kill_is_what_the_run_said_last(tmp_path, said, phase):
    (tmp_path / "log").write_text(said)

    assert killing._said_phase(tmp_path) == phase


def test_simulating_is_the_first_phase_of_a_run_to_be_killed_in_and_reporting_the_last():
    order = killing._targets(random.Random(1), 400)
    early = [phase not in ("inferring", "reporting") for phase in order]

    assert set(order) == set(forking.PHASES)
    assert order[: order.count("simulating")] == ["simulating"] * order.count("simulating")
    assert early == sorted(early, reverse=True)


def test_the_longest_stay_in_a_phase_is_found():
    running = forking.Running(None, None)
    running.entered, running.times = (
        ["starting", "saving", "training", "saving", ""],
        [0, 2, 3, 4, 9],
    )

    assert killing._longest(running) == {"starting": 2, "saving": 5, "training": 1}


@pytest.mark.slow
def test_twenty_kills_change_no_bit():
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.kills", "--count=20", "--kills_per_run=10"],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )

    assert done.returncode == 0, done.stderr
    assert "0 did not; 0 kills left something wrong" in done.stdout
