"""CI fails unless the gate gives a valid verdict on a commit compared with itself."""

import json
import os
import pathlib
import runpy
import subprocess
import sys

import pytest

from tests import fake_benchmark, recorded

ROOT = pathlib.Path(__file__).parents[2]
SCRIPT = ROOT / ".ci" / "gate.py"


@pytest.fixture
def gate(monkeypatch):
    """Runs the script with a gate that has this exit status and decision, or none."""

    def run(status, decision):
        def fake_gate(command, check):
            out = pathlib.Path(command[-1].removeprefix("--out="))
            if decision is not None:
                (out / "decision.json").write_text(json.dumps(decision))
            return subprocess.CompletedProcess(command, status)

        monkeypatch.setattr(subprocess, "run", fake_gate)
        monkeypatch.setattr(sys, "argv", [str(SCRIPT), "--base=HEAD"])
        runpy.run_path(str(SCRIPT), run_name="__main__")

    return run


def decided(verdict, status):
    found = json.loads((recorded.DATA / "decision.json").read_text())
    return found | {"verdict": verdict, "exit_status": status}


@pytest.mark.parametrize(("verdict", "status"), [("no regression", 0), ("cannot decide", 3)])
def test_no_regression_and_too_few_pairs_to_decide_are_sound(gate, verdict, status):
    gate(status, decided(verdict, status))


@pytest.mark.parametrize(
    ("status", "decision", "reason"),
    [
        (1, decided("regression", 1), "error: a false alarm"),
        (0, decided("regression", 1), "error: the exit status is 0; decision.json says 'regr"),
        (3, None, "error: the gate came to no verdict: its exit status is 3."),
        (2, None, "error: the gate came to no verdict: its exit status is 2."),
        (4, decided("no regression", 0), "error: the gate came to no verdict: its exit"),
    ],
)
def test_a_regression_and_a_gate_that_fails_are_failures(gate, status, decision, reason):
    with pytest.raises(SystemExit, match=reason):
        gate(status, decision)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "status", "last"),
    [
        (["--base=HEAD", "--max_pairs=1"], 0, ""),
        (["--base=HEAD~1"], 1, "error: a false alarm"),
        (["--base=nowhere"], 1, "error: the gate came to no verdict: its exit status is 2."),
    ],
)
def test_the_gate_itself_is_run(tmp_path, words, status, last):
    folder = fake_benchmark.make(tmp_path / "repository", {}, {"inference": 0.6})
    pythons = [f"--base_python={sys.executable}", f"--head_python={sys.executable}"]

    done = subprocess.run(
        [sys.executable, SCRIPT, "--preset=preset.cfg", *pythons, *words],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(ROOT), "PYTHONSAFEPATH": "1"},
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == status, done.stderr
    assert done.stderr.splitlines()[-1].startswith(last)
