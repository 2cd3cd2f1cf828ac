"""Results are written and shown even if optional outputs fail."""

import errno
import json
import os
import sys
import tempfile
from pathlib import Path

import pytest

from mlpf_jax.report import hepscore, result, summary
from mlpf_jax.run import ending
from tests.report.test_hepscore import DOCUMENT


@pytest.fixture
def deliver(monkeypatch, tmp_path):
    """Ends a run with this report."""
    show = "shown, report: {}".format
    monkeypatch.setattr(summary, "show", lambda run, path, stream: print(show(path), file=stream))
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))

    def end(document, folder):
        monkeypatch.setattr(hepscore, "report", lambda finished, arguments: document)
        return ending.deliver(object.__new__(result.RunResult), "", folder)

    return end


def test_a_report_is_where_it_was_asked_for(deliver, tmp_path, capsys):
    folder = tmp_path / "results"

    assert deliver(DOCUMENT, folder) == []

    assert capsys.readouterr().out == f"shown, report: {folder / hepscore.FILE_NAME}\n"


def test_the_report_that_was_there_before_is_named(deliver, tmp_path, capsys):
    deliver(DOCUMENT, tmp_path / "results")
    deliver(DOCUMENT, tmp_path / "results")

    (kept,) = (tmp_path / "results").glob("*Z.json")
    assert capsys.readouterr().out.splitlines()[-1] == f"the previous report: {kept}"


def test_a_full_disk_costs_no_report(deliver, full_disk, capsys):
    (full_disk / "other").write_bytes(bytes(4096))

    (problem,) = deliver(DOCUMENT, full_disk)

    assert [path.name for path in full_disk.iterdir()] == ["other"]
    start, path = problem.removesuffix(".").split(" The report is ")
    place = full_disk / hepscore.FILE_NAME
    assert start == f"--results_dir={full_disk}: {place}: No space left on device."
    assert json.loads(Path(path).read_text()) == DOCUMENT
    assert f"shown, report: {path}" in capsys.readouterr().out


def test_a_report_that_breaks_its_schema_is_kept_elsewhere_under_no_false_name(deliver, tmp_path):
    document = DOCUMENT | {"extra": float("nan")}

    (problem,) = deliver(document, tmp_path / "results")

    assert list((tmp_path / "results").glob("*")) == []
    assert "--results_dir=" in problem
    assert len(list((tmp_path / "temporary").rglob("*.json"))) == 1


def test_a_report_that_can_be_written_nowhere_is_printed(deliver, tmp_path, monkeypatch, capsys):
    (tmp_path / "file").touch()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "missing"))

    (problem,) = deliver(DOCUMENT, tmp_path / "file" / "results")

    assert problem.endswith(": Not a directory. The report was printed.")
    shown, printed = capsys.readouterr().out.splitlines()
    assert shown == "shown, report: printed below"
    assert json.loads(printed) == DOCUMENT


def test_an_output_that_nobody_reads_costs_no_report(deliver, tmp_path, monkeypatch):
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "w", closefd=False) as unread:
        monkeypatch.setattr(sys, "stdout", unread)
        (problem,) = deliver(DOCUMENT, tmp_path / "results")
        os.dup2(os.open(os.devnull, os.O_WRONLY), writing)  # for what is left to flush

    path = tmp_path / "results" / hepscore.FILE_NAME
    assert problem == f"standard output: Broken pipe. The report is {path}."
    assert path.is_file()


def test_a_summary_that_cannot_be_shown_costs_nothing_else(deliver, tmp_path, monkeypatch):
    def show(*arguments):
        raise KeyError("total")

    monkeypatch.setattr(summary, "show", show)
    (problem,) = deliver(DOCUMENT, tmp_path / "results")

    path = tmp_path / "results" / hepscore.FILE_NAME
    assert problem == f"standard output: 'total'. The report is {path}."
    assert json.loads(path.read_text()) == DOCUMENT


def test_an_optional_file_that_cannot_be_written_costs_only_itself():
    done = []

    def fail():
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "weights")

    problems = ending.finish({"checkpoint": fail, "profile": lambda: done.append(True)})

    assert done == [True]
    assert problems == [
        "--checkpoint: could not be written; the report is complete. (weights: No space left on "
        "device.)"
    ]
