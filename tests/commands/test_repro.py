"""Runs are compared bit by bit as a user does it."""

import pytest


@pytest.mark.parametrize(
    ("words", "culprit"),
    [
        (["--against=again,strange"], "--against=strange: none of again, parallel"),
        (["one"], "give two folders"),
        (["--out=docs"], "--out=docs: exists already"),
    ],
)
def test_wrong_usage_is_one_line_and_status_2(run_program, words, culprit):
    done = run_program("mlpf_jax.commands.repro", *words)

    assert done.returncode == 2
    assert culprit in done.stderr
    assert (len(done.stderr.splitlines()), done.stdout) == (1, "")


def test_a_folder_without_checkpoints_is_one_line_and_status_1(run_program, tmp_path):
    done = run_program("mlpf_jax.commands.repro", tmp_path, tmp_path / "other")

    assert done.returncode == 1
    assert done.stderr == f"error: {tmp_path}: no checkpoint is there.\n"


@pytest.mark.slow
def test_an_interrupted_run_is_bit_identical_and_shown_so(run_program, tmp_path):
    done = run_program(
        "mlpf_jax.commands.repro",
        f"--out={tmp_path / 'out'}",
        "--against=interrupted",
        *("--", "--preset=smoke", "--num_epochs=9", "--num_infer_samples=1"),
        *("--nomeasure_compile", f"--compilation_cache={tmp_path / 'cache'}"),
    )

    assert done.returncode == 0, done.stderr
    assert "bit-identical" in done.stdout
    assert (tmp_path / "out" / "interrupted" / "mlpf-jax_summary.json").exists()
