"""The study as a user runs it: in processes of its own."""

import json
import os
import pathlib
import subprocess
import sys

import pytest

from mlpf_jax.results import hepscore

ROOT = pathlib.Path(__file__).parents[2]


def scale(*words, environ=None):
    return subprocess.run(
        [sys.executable, "-m", "tools.scaling", *map(str, words)],
        cwd=ROOT,
        env=environ,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize(
    ("words", "culprit"),
    [
        (["--study=weak,strange"], "--study=strange: none of weak, strong, batch, data"),
        (["flags/smoke.cfg"], "stray argument: flags/smoke.cfg"),
        (["--", "--flagfile=flags/missing.cfg"], "flags/missing.cfg"),
        (["--max_devices=3", "--", "--flagfile=flags/reproducibility.cfg"], "shared evenly by 3"),
    ],
)
def test_wrong_usage_is_one_line_and_status_2(tmp_path, words, culprit):
    done = scale(f"--out={tmp_path / 'out'}", *words)

    assert done.returncode == 2
    assert culprit in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert done.stdout == ""
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_two_virtual_devices_are_measured_and_a_failed_point_costs_the_others_nothing(tmp_path):
    kept = {k: v for k, v in os.environ.items() if k not in ("XLA_FLAGS", "JAX_PLATFORMS")}
    environ = kept | {"XDG_CACHE_HOME": str(tmp_path / "cache"), "JAX_PLATFORMS": "cpu"}
    settings = ["--flagfile=flags/smoke.cfg", "--num_train_events=8", "--num_epochs=2"]
    study = [f"--out={tmp_path / 'out'}", "--max_devices=2", "--repeats=1"]

    # With 8 events per step two epochs are two steps, with 16 still two: all points can run.
    done = scale("--study=weak,strong", *study, "--", *settings, environ=environ)
    # One step in all gives no steady state: the run of 8 events per device is wrong usage.
    more = scale(
        "--study=batch",
        f"--out={tmp_path / 'more'}",
        "--max_batch_size=8",
        "--repeats=1",
        "--",
        *settings[:2],
        "--num_epochs=1",
        "--batch_size=4",
        environ=environ,
    )

    assert done.returncode == 0, done.stderr
    document = json.loads((tmp_path / "out" / "scaling.json").read_text())
    assert document["is_emulated"]
    assert set(document["points"]) == {
        "devices-1_batch-2",
        "devices-1_batch-4",
        "devices-2_batch-2",
    }
    row = document["studies"]["strong"]["rows"][1]
    assert row["efficiencies"]["training"]["value"] > 0
    assert document["batches"][1]["spread_over_devices"] < 0.01
    run = tmp_path / "out" / document["points"]["devices-2_batch-2"]["runs"]["0"]["file"]
    hepscore.validate(json.loads(run.read_text()))
    assert "(emulated)" in done.stdout
    assert (tmp_path / "out" / "scaling.md").read_text().count("Weak scaling") == 2
    assert more.returncode == 1
    assert "one training step gives no steady-state sample" in more.stdout
    failed = json.loads((tmp_path / "more" / "scaling.json").read_text())
    assert failed["points"]["devices-1_batch-8"]["runs"] == {}
    assert failed["points"]["devices-1_batch-4"]["runs"]["0"]["accuracy"] > 0
