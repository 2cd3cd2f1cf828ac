"""The tool shows and stores results and reports errors, with documented exit statuses."""

import csv
import functools
import io
import json
import pathlib

import pytest

from tests.report import documents

SLOWER = [rate / 2 for rate in documents.RATES]


@pytest.fixture
def compare(run_program, monkeypatch):
    monkeypatch.setenv("COLUMNS", "120")
    return functools.partial(run_program, "mlpf_jax.commands.compare")


@pytest.fixture
def files(tmp_path):
    a = documents.write(tmp_path / "a.json")
    b = documents.write(tmp_path / "b.json", training=SLOWER)
    return a, b


def complaint(run):
    assert len(run.stderr.strip().splitlines()) == 1
    assert run.stderr.startswith("error: ")
    return run.stderr


def test_a_slower_run_is_no_failure_and_any_file_can_be_the_baseline(compare, files, tmp_path):
    a, b = files

    run = compare(b, a, f"--baseline={a}", "--format=csv", f"--out={tmp_path / 'x.csv'}")

    assert (run.returncode, run.stdout, run.stderr) == (0, "", "")
    rows = list(csv.DictReader(io.StringIO((tmp_path / "x.csv").read_text())))
    assert [row["file"] for row in rows] == [str(a), str(b)]
    assert float(rows[1]["training_ratio_value"]) == pytest.approx(0.5)
    assert rows[1]["training_verdict"] == "slower"


def test_a_copy_of_a_file_is_reported_and_gets_no_row(compare, files, tmp_path):
    copy = tmp_path / "copy.json"
    copy.write_text(json.dumps(json.loads(files[1].read_text()), indent=1))

    run = compare(*files, copy, "--format=markdown")

    assert run.returncode == 0
    assert run.stderr == f"{copy} is the same run as {files[1]}, and counts once.\n"
    assert run.stdout.count("copy.json") == 1  # in the notes


def test_a_refused_ratio_fails_only_if_one_is_strict(compare, files, tmp_path):
    changes = {
        "run_info/precision": "bf16",
        "report/wl-stats/started_at": "2022-09-21T12:00:00+00:00",  # else it is a copy
    }
    other = documents.write(tmp_path / "c.json", changes=changes)

    run = compare(files[0], other, "--strict", "--format=markdown")

    assert run.returncode == 1
    assert "refused" in run.stdout
    assert "c.json against" in complaint(run)


def test_results_are_kept_and_their_history_shown(compare, files, tmp_path):
    store = tmp_path / "store"

    added = compare(f"--history={store}", "--add", *files, files[0])
    run = compare(f"--history={store}", "--metric=inference", "--format=json")

    assert [line.partition(".json: ")[2] for line in added.stdout.splitlines()] == [
        "added",
        "added",
        "was there",
    ]
    assert [len(s["points"]) for s in json.loads(run.stdout)["series"]] == [2]


def test_the_talks_tables_are_shown(compare, files):
    run = compare("--talk", "--format=markdown", files[0])

    assert run.returncode == 0
    assert "PUBLISHED 2022, NOT MEASURED HERE" in run.stdout
    assert "80 events, not 1100" in run.stdout


@pytest.mark.parametrize(
    ("words", "status", "reason"),
    [
        ([], 2, "give results"),
        (["--history=x", "a.json"], 2, "to copy files there, give --add"),
        (["pyproject.toml"], 1, "pyproject.toml: "),
    ],
)
def test_wrong_usage_and_files_that_are_no_results_are_one_line(compare, words, status, reason):
    run = compare(*words)

    assert run.returncode == status
    assert reason in complaint(run)
    assert run.stdout == ""


def test_a_table_that_cannot_be_written_is_kept_elsewhere(
    compare, files, full_disk, monkeypatch, tmp_path
):
    (full_disk / "other").write_bytes(bytes(4096))
    monkeypatch.setenv("TMPDIR", str(tmp_path))

    run = compare(*files, "--format=markdown", f"--out={full_disk / 'x.md'}")

    assert run.returncode == 1
    other = complaint(run).rstrip().removesuffix(".").split("Its content is in ")[1]
    assert "training" in pathlib.Path(other).read_text()
