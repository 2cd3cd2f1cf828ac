"""The study as a user runs it."""

import json
import os
import pathlib
import subprocess
import sys

import pytest

from mlpf_jax.report import hepscore

ROOT = pathlib.Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("words", "culprit"),
    [
        (["--study=weak,strange"], "--study=strange: none of weak, strong, batch, data"),
        (["flags/smoke.cfg"], "stray argument: flags/smoke.cfg"),
        (["--", "--flagfile=flags/missing.cfg"], "flags/missing.cfg"),
        (
            ["--max_devices=3", "--", "--flagfile=flags/reproducibility.cfg"],
            "divided evenly among 3",
        ),
    ],
)
def test_wrong_usage_is_one_line_and_status_2(run_program, tmp_path, words, culprit):
    done = run_program("mlpf_jax.commands.scaling", f"--out={tmp_path / 'out'}", *words)

    assert done.returncode == 2
    assert culprit in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert done.stdout == ""
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_two_virtual_devices_are_measured_and_a_failed_point_costs_the_others_nothing(tmp_path):
    kept = {k: v for k, v in os.environ.items() if k not in ("XLA_FLAGS", "JAX_PLATFORMS")}
    environ = kept | {"XDG_CACHE_HOME": str(tmp_path / "cache"), "JAX_PLATFORMS": "cpu"}
    settings = ["--flagfile=flags/smoke.cfg", "--num_train_events=8", "--num_epochs=1"]
    settings += ["--num_id_layers=1", "--num_energy_layers=1", "--num_infer_samples=3"]
    study = ["--study=weak,strong,batch", "--max_devices=2", "--max_batch_size=8", "--repeats=1"]

    # With 8 of 8 events in a step there is but one step, so no steady state: wrong usage.
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "tools.scaling",
            f"--out={tmp_path / 'out'}",
            *study,
            "--",
            *settings,
        ],
        cwd=ROOT,
        env=environ,
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 1, done.stderr
    assert done.stderr.splitlines()[-1] == "error: points that failed: 1, see above."
    # However wide the terminal is, from which the width of the lines is taken.
    assert "one training step gives no steady-state sample" in " ".join(done.stdout.split())
    document = json.loads((tmp_path / "out" / "scaling.json").read_text())
    finished = {name for name, point in document["points"].items() if point["runs"]}
    sizes = [(1, 1), (1, 2), (1, 4), (2, 2)]
    assert finished == {f"num_devices-{devices}_batch_size-{batch}" for devices, batch in sizes}
    assert document["is_emulated"]
    assert document["studies"]["strong"]["rows"][1]["efficiencies"]["training"]["value"] > 0
    rows = {row["global_batch_size"]: row for row in document["batches"]}
    assert rows[4]["num_devices"] == [1, 2]
    assert rows[4]["spread_over_devices"] < 0.01
    run = tmp_path / "out" / document["points"]["num_devices-2_batch_size-2"]["runs"]["0"]["file"]
    hepscore.validate(json.loads(run.read_text()))
    assert "(emulated)" in done.stdout
    assert (tmp_path / "out" / "scaling.md").read_text().count("Weak scaling") == 2
