"""The commands as a user runs them."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from mlpf_jax import runtime

ROOT = Path(__file__).parents[2]


def run(tmp_path, module, *arguments):
    environ = {k: v for k, v in os.environ.items() if k != "XLA_FLAGS"}
    return subprocess.run(
        [sys.executable, "-m", f"benchmarks.{module}", *arguments],
        cwd=ROOT,
        env=environ | {"XDG_CACHE_HOME": str(tmp_path), "JAX_PLATFORMS": "cpu"},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize(
    ("module", "arguments", "culprit"),
    [
        ("step", ["--num_elements=100"], "--num_elements=100"),
        ("step", ["batch=4"], "stray argument: batch=4"),
        ("step", ["--cores=4096"], "--cores=4096: this process may use"),
        ("step", ["--json=missing/x.json"], "missing: No such file"),
        ("timing_checks", ["--samples=2"], "samples"),
        ("timing_checks", ["--json=missing/x.json"], "missing: No such file"),
        ("growth", ["--axis=batch", "--values=1,2"], "--values"),
        ("growth", ["--axis=weight"], "axis"),
        ("growth", ["--axis=batch", "--preset=missing.cfg"], "--preset=missing.cfg"),
    ],
)
def test_wrong_usage_is_one_line_and_exit_status_2(
    monkeypatch, run_program, module, arguments, culprit
):
    monkeypatch.setattr(runtime, "prepare", lambda num_devices: None)  # JAX is there already
    monkeypatch.setattr(runtime, "set_up_jax", lambda num_devices: None)

    done = run_program(f"benchmarks.{module}", *arguments)

    assert done.returncode == 2
    assert culprit in done.stderr
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.slow
def test_the_trace_names_what_a_step_does(tmp_path):
    """On one core, where it is traced by the process itself; a rehearsal takes the other way."""
    out = tmp_path / "parts.json"
    done = run(
        tmp_path,
        "step",
        "--network=small",
        "--num_elements=256",
        "--samples=3",
        "--only_trace",
        *(["--cores=1"] if hasattr(os, "sched_setaffinity") else []),
        f"--json={out}",
    )

    assert done.returncode == 0, done.stderr
    document = json.loads(out.read_text())
    assert "versions" in document["environment"]
    for whole in document["wholes"]:
        # How much of the step they cover is judged at full size on a quiet machine.
        found = whole["breakdown"]
        assert found["covered_s"] > 0
        other = [part for part in found["parts"] if part["part"] == "other"]
        assert sum(part["forward_s"] for part in other) < 0.05 * found["covered_s"]
    assert [whole["name"] for whole in document["wholes"]] == ["inference", "training"]
    assert document["on_one_core"] == []
