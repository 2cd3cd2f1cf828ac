"""The entry of the workload: hep-workloads' options, and one line and no run for wrong ones."""

import json
import os
import subprocess
import sys

import pytest

from mlpf_jax.commands import workload
from mlpf_jax.measure import slot
from mlpf_jax.workload import session

CORES = slot.Slot(allowed_cores=(0, 1), cpu_quota=None, control_groups=None, memory_bytes=None)


@pytest.fixture
def started(monkeypatch):
    """The jobs that the command starts instead of running them, and their folders."""
    jobs = []
    monkeypatch.setattr(session, "run", lambda job, folder: jobs.append((job, folder)))
    monkeypatch.setattr(slot, "read", lambda: CORES)
    monkeypatch.setattr(slot, "free_memory_bytes", lambda: 2**40)
    monkeypatch.setattr(workload.accelerators, "present", tuple)
    monkeypatch.setattr(workload.accelerators, "plugins", tuple)
    yield jobs
    workload._FLAGS.unparse_flags()


def call(monkeypatch, *words):
    for name in workload._FLAGS:
        workload._FLAGS[name].unparse()
    monkeypatch.setattr(sys, "argv", ["mlpf-jax-bmk", *words])
    with pytest.raises(SystemExit) as end:
        workload.run_app()
    return end.value.code


def test_without_a_preset_it_runs_that_of_sites_with_a_copy_for_each_core(
    started, monkeypatch, tmp_path
):
    assert call(monkeypatch, "-W", "-w", str(tmp_path)) == 0

    ((job, folder),) = started
    assert job.words == (
        "--platform=cpu",
        "--distributed=off",
        "--preset=site",
        "--num_devices=1",
    )
    assert [share.cores for share in job.shares] == [(0,), (1,)]
    assert folder == tmp_path


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["-e", "7"], {"num_train_events": 7}),
        (["--batch-size", "3"], {"batch_size": 3}),
        (["--batch_size=3"], {"batch_size": 3}),
        (["--extra-args", "--batch-size 3 --precision bf16"], {"batch_size": 3}),
        (["--learning-rate", "1e-3"], {"learning_rate": 1e-3}),
        (["--num-infer-samples", "4", "--seed", "3"], {"num_infer_samples": 4, "seed": 3}),
    ],
)
def test_every_knob_reaches_the_configuration(started, monkeypatch, tmp_path, words, expected):
    assert call(monkeypatch, "-W", "-w", str(tmp_path), *words) == 0

    config = started[0][0].config
    found = {**vars(config), **vars(config.train), **vars(config.data), **vars(config.model)}
    assert expected.items() <= found.items()


def test_events_make_an_epoch_a_pass_over_them(started, monkeypatch, tmp_path):
    call(monkeypatch, "-W", "-w", str(tmp_path), "-e", "20", "--batch-size", "4")

    assert started[0][0].config.steps_by_epoch == (5, 5)


def test_without_w_the_results_get_a_folder_of_their_own(started, monkeypatch, tmp_path):
    call(monkeypatch, "--resultsdir", str(tmp_path), "-c1", "-e", "5")

    folder = started[0][1]
    assert folder.parent == tmp_path
    assert folder.name.startswith("mlpf-jax-bmk-c1-e5-")


def test_a_folder_whose_name_begins_with_a_tilde_is_no_home_folder(started, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)

    call(monkeypatch, "-W", "-w", "./~root")

    assert started[0][1] == tmp_path / "~root"


@pytest.mark.parametrize(
    ("words", "culprit"),
    [
        (["--copies", "3"], "--copies=3"),
        (["--copies", "x"], "--copies=x"),
        (["-n", "0"], "--ncores=0"),
        (["-M", "quantum"], "platform"),
        (["-M", "gpu"], "--platform=gpu"),
        (["--bogus", "1"], "bogus"),
        (["word"], "word"),
        (["--extra-args", "word"], "stray argument: word"),
        (["--extra-args", "'"], "--extra-args: No closing quotation"),
        (["--extra-args"], "--extra-args"),
        (["-extra_args", "-c 1"], "--extra-args: write it on the command line itself"),
        (["--extra-args", "--extra-args='-c 1'"], "--extra-args: write it on the command line"),
        (["-e", "5", "--num-train-events", "3"], "--events"),
        (["--batch-size", "0"], "--batch_size=0"),
        (["--preset", "nope"], "--preset=nope"),
        (["--devices", "0"], "--devices"),
        (["--mop", "some"], "mop"),
        (["--results-dir", "x"], "results_dir"),
        (["--fit"], "fit"),
        (["--distributed", "auto"], "distributed"),
        (["-w", "/dev/null/x"], "--resultsdir=/dev/null/x"),
        (["--resultsdir="], "--resultsdir: give a folder"),
    ],
)
def test_wrong_usage_is_one_line_and_starts_nothing(
    started, monkeypatch, tmp_path, capsys, words, culprit
):
    assert call(monkeypatch, "-W", "-w", str(tmp_path), *words) == 2

    told = capsys.readouterr().err.strip()
    assert culprit in told
    assert len(told.splitlines()) == 1
    assert not started


def test_every_setting_of_the_network_and_the_training_is_an_option():
    kept = set(workload.options.define()) - set(workload._FLAGS)

    configs = (workload.config_lib.FilesConfig, workload.config_lib.HostsConfig)
    assert kept <= {f.name for config in configs for f in workload.dataclasses.fields(config)}


@pytest.mark.slow
def test_two_copies_write_one_summary(tmp_path):
    folder = tmp_path / "r\u00e9sultats \r 1"
    command = ["mlpf_jax.commands.workload", "-W", "-w", str(folder), "--preset", "smoke", "-c2"]
    command += ["--num-id-layers", "1", "--num-energy-layers", "1", "--num-infer-samples", "3"]
    done = subprocess.run(
        [sys.executable, "-m", *command],
        env=os.environ | {"PYTHONIOENCODING": "ascii"},
        capture_output=True,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    assert b"\r" not in done.stdout
    assert "r\u00e9sultats" in done.stdout.decode("utf-8")
    document = json.loads((folder / "mlpf-jax_summary.json").read_text())
    assert document["run_info"]["copies"] == 2
    copies = document["report"]["wl-stats"]["copies"]
    assert [one["cores"] for one in copies] == [[0], [1]]
    assert len({one["loss_sha256"] for one in copies}) == 1
    assert [path.name for path in folder.rglob("*_summary.json")] == ["mlpf-jax_summary.json"]
