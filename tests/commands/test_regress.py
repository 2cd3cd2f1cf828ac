"""The tool's exit status, table and files, as a user and a workflow see them."""

import contextlib
import errno
import json
import os
import pathlib
import re
import signal
import subprocess
import sys
import tempfile

import pytest

from mlpf_jax.regress import baseline, documents, session
from mlpf_jax.sides import driver
from mlpf_jax.stats import sequential
from tests import fake_benchmark

ROOT = pathlib.Path(__file__).parents[2]


SETTINGS = (
    "--preset=preset.cfg",
    f"--base_python={sys.executable}",
    f"--head_python={sys.executable}",
)


@pytest.fixture
def regress(run_program, monkeypatch, tmp_path):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))

    def run(folder, *words):
        done = run_program("mlpf_jax.commands.regress", *SETTINGS, *words, folder=folder)
        return done.returncode, done.stdout, done.stderr

    return run


@pytest.fixture
def slower(tmp_path):
    return fake_benchmark.make(tmp_path / "repository", {}, {"inference": 0.6})


def test_a_regression_is_status_1_with_a_table_and_all_files(regress, slower):
    status, stdout, stderr = regress(slower, "--base=HEAD~1", "--out=out")

    assert status == 1, stderr
    assert "Verdict: regression: inference (exit status 1)" in stdout
    assert "pair 10, " in stderr
    out = slower / "out"
    assert {path.name for path in out.iterdir()} == {
        "decision.json",
        "table.md",
        "bigger-is-better.json",
        "smaller-is-better.json",
        "bencher.json",
    }
    decision = json.loads((out / "decision.json").read_text())
    baseline.validate(decision, "decision")
    assert len(decision["runs"]) == 20
    (row,) = re.findall(r"\| inference, s/event \|.*", (out / "table.md").read_text())
    a, b, ratio = (float(cell) for cell in row.split("|")[2:5])
    assert (a, b, ratio) == pytest.approx((0.5, 0.6, 1.2), rel=0.01)
    assert "slower" in row


def test_the_resolution_is_one_line_and_status_0(regress, monkeypatch, tmp_path):
    @contextlib.contextmanager
    def starting(side):
        yield lambda: fake_benchmark.Live(side)

    monkeypatch.setattr(driver, "starting", starting)
    monkeypatch.setattr(sequential, "_SIMULATIONS", 5)
    folder = fake_benchmark.make(tmp_path / "repository", {}, serves=True)

    status, stdout, stderr = regress(folder, "--resolve", "--max_pairs=4", "--out=out", "--quiet")

    assert (status, stderr) == (0, "")
    assert stdout.startswith("The smallest slowdown that ten minutes would find with 95 % here")
    assert stdout.splitlines()[1:] == ["decision: out/decision.json"]


def test_a_failed_run_is_status_4_with_its_last_words(regress, slower):
    (slower / "preset.cfg").write_text("--fail=1\n")

    status, stdout, stderr = regress(slower, "--base=HEAD", "--quiet")

    assert (status, stdout) == (4, "")
    assert stderr.splitlines()[-2] == "error: the run of this preset fails"
    assert stderr.splitlines()[-1].startswith("error: a run failed: ")


@pytest.mark.parametrize("words", [["only-one"], ["--base=nowhere"]])
def test_wrong_usage_is_one_line_and_status_2(regress, slower, words):
    status, stdout, stderr = regress(slower, *words)

    assert (status, stdout) == (2, "")
    assert len(stderr.splitlines()) <= 2
    assert stderr.splitlines()[-1].startswith("error: ")


def test_a_base_that_cannot_be_slowed_is_one_line_that_names_it_and_the_way_out(regress, slower):
    package = slower / "mlpf_jax"
    (package / "sides").mkdir()
    (package / "sides" / "member.py").touch()

    status, stdout, stderr = regress(slower, "--base=HEAD", "--inject=0.15", "--quiet")

    assert (status, stdout) == (2, "")
    commit = fake_benchmark.git(slower, "rev-parse", "HEAD")[:12]
    assert stderr == (
        f"error: {commit} has no mlpf_jax.sides.member, which --inject needs: omit --inject, or "
        "name a commit that has it, --base=.\n"
    )


def test_nothing_to_compare_is_status_5_and_no_verdict(regress, slower):
    fake_benchmark.git(slower, "commit", "--quiet", "--allow-empty", "--message=x")

    status, stdout, stderr = regress(slower, "--base=HEAD~1", "--quiet")

    assert (status, stderr) == (5, "")
    assert stdout.startswith("nothing to compare: mlpf_jax are the same in A (")
    assert not (slower / "build" / "regression" / "decision.json").exists()


def test_an_unusable_output_folder_is_reported_before_any_run(regress, slower):
    (slower / "file").touch()

    status, stdout, stderr = regress(slower, "--base=HEAD~1", "--out=file/x")

    assert (status, stdout) == (2, "")
    assert stderr == "error: file/x: Not a directory.\n"


def failing(error):
    def fail(*_, **__):
        raise error

    return fail


def test_an_unexpected_error_gives_no_verdict(regress, monkeypatch, slower):
    monkeypatch.setattr(session, "compare", failing(RuntimeError("no idea")))

    status, stdout, stderr = regress(slower, "--base=HEAD", "--debug")

    assert (status, stdout) == (70, "")
    assert stderr.splitlines()[-2:] == [
        "RuntimeError: no idea",
        "error: unexpected: RuntimeError: no idea",
    ]


@pytest.mark.parametrize(
    ("base", "verdict", "status"), [("HEAD~1", "regression", 1), ("HEAD", "no regression", 70)]
)
def test_a_verdict_that_cannot_be_written_is_printed_first(
    regress, monkeypatch, slower, base, verdict, status
):
    full = OSError(errno.ENOSPC, "No space left on device")
    monkeypatch.setattr(documents.atomic, "write_file", failing(full))

    found, stdout, stderr = regress(slower, f"--base={base}", "--quiet")

    assert found == status
    assert f"Verdict: {verdict}" in stdout
    assert stderr == (
        "error: the verdict above was not written into build/regression: No space left on device.\n"
    )


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_ends_the_runs_and_leaves_nothing_behind(slower, number):
    (slower / "preset.cfg").write_text("--hang=1\n")
    with subprocess.Popen(
        [sys.executable, "-P", "-m", "tools.regress", *SETTINGS, "--base=HEAD~1"],
        cwd=slower,
        env=os.environ | {"PYTHONPATH": str(ROOT), "TMPDIR": str(slower.parent)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stderr is not None
        while "A: " not in process.stderr.readline():
            assert process.poll() is None
        process.send_signal(number)
        _, stderr = process.communicate(timeout=60)

    assert process.returncode == 128 + number
    assert stderr.splitlines()[-1].startswith("error: interrupted")
    assert [path.name for path in slower.parent.iterdir()] == ["repository"]
    assert len(fake_benchmark.git(slower, "worktree", "list").splitlines()) == 1
