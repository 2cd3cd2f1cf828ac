"""Runs that are killed at random times end with the bits of an undisturbed run."""

import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.kills import killing

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("said", "phase"),
    [
        ("", "start"),
        ("[00:01] simulating qcd: 50/50", "simulating"),
        ("[00:12] compiled in 3.0 s", "compiling"),
        ("[00:12] epoch 3/8: 0.3 s, loss 1", "training, validating"),
        ("[00:12] inference: 5/5, 400 events/s", "inferring, reporting"),
    ],
)
def test_the_phase_of_a_kill_is_what_the_run_said_last(tmp_path, said, phase):
    (tmp_path / "log").write_text(said)

    assert killing._phase(tmp_path) == phase


@pytest.mark.slow
def test_twenty_kills_change_no_bit():
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.kills", "--count=20", "--kills_per_run=5", "--jobs=2"],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )

    assert done.returncode == 0, done.stderr
    assert "0 did not; 0 kills left something wrong" in done.stdout
