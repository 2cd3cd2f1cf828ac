"""The sweep as a user starts it."""

import pytest


@pytest.mark.parametrize(
    ("words", "culprit"),
    [
        ([], "give values of at least one setting"),
        (["--batch_size=1,0"], "--batch_size=1,0: must be positive whole numbers"),
        (["--copies=1", "--", "--copies=2"], "--copies=2: not allowed for the runs of a sweep"),
        (
            ["--copies=1", "--", "-c2"],
            "-c2: not allowed for the runs of a sweep: the sweep varies it",
        ),
        (["--copies=1", "--", "-w", "x"], "-w: not allowed for the runs of a sweep: every run has"),
        (["--copies=1", "--", "--results_dir=x"], "--results_dir=x: not allowed"),
        (
            ["--copies=1", "--", "--power_limit", "300"],
            "--power_limit: not allowed for the runs of",
        ),
        (["--copies=1", "--", "--flagfile=missing.cfg"], "missing.cfg"),
        (["--copies=1", "--repeats=0"], "--repeats=0: must be at least 1"),
    ],
)
def test_wrong_usage_is_one_line_and_status_2(run_program, tmp_path, words, culprit):
    done = run_program("mlpf_jax.commands.sweep", f"--out={tmp_path / 'out'}", *words)

    assert done.returncode == 2
    assert culprit in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert done.stdout == ""
    assert not (tmp_path / "out").exists()
