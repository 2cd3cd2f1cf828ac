"""CI fails unless the gate gives a valid verdict on a commit compared with itself."""

import os
import pathlib
import subprocess
import sys

import pytest

from tests import fake_benchmark

ROOT = pathlib.Path(__file__).parents[2]


def gate(folder, *words):
    pythons = [f"--base_python={sys.executable}", f"--head_python={sys.executable}"]
    done = subprocess.run(
        [sys.executable, ROOT / ".ci" / "gate.py", "--preset=preset.cfg", *pythons, *words],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(ROOT), "PYTHONSAFEPATH": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stderr.splitlines()[-1]


@pytest.fixture
def repository(tmp_path):
    return fake_benchmark.make(tmp_path / "repository", {}, {"inference": 0.6})


@pytest.mark.parametrize("pairs", [1, 6])
def test_no_regression_and_too_few_pairs_to_decide_are_sound(repository, pairs):
    status, last = gate(repository, "--base=HEAD", f"--max_pairs={pairs}")

    assert status == 0, last


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["--base=HEAD~1"], "error: a false alarm"),
        (["--base=nowhere"], "error: the gate came to no verdict: its exit status is 2."),
        (["--base=HEAD", "--run_timeout_s=0.001"], "error: the gate came to no verdict: its exit"),
    ],
)
def test_a_regression_and_a_gate_that_fails_are_failures(repository, words, reason):
    status, last = gate(repository, *words)

    assert status == 1
    assert last.startswith(reason)
