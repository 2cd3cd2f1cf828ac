"""A run of the workload leaves a summary only if it succeeds, and always tells what it was."""

import io
import sys
from pathlib import Path

import pytest

from mlpf_jax import config, processes
from mlpf_jax.events import source
from mlpf_jax.report import hepscore
from mlpf_jax.workload import outcome, plan, session, together
from tests.report import documents, test_summing
from tests.workload import test_outcome

DATA = Path("/data")


def job(**changes):
    settings = {
        "words": ("--platform=cpu", "--preset=site"),
        "config": config.RunConfig(),
        "files": config.FilesConfig(data_dir=DATA),
        "shares": (plan.Share((0,)), plan.Share((1,))),
        "remarks": (),
        "shows_logs": False,
        "tidies": False,
    }
    return session.Job(**settings | changes)


def measure(copies, say):
    """Lets all copies succeed."""
    for copy in copies:
        copy.log.write_text("a line\n")
        documents.dump(
            copy.log.parent / f"proc_{copy.number}" / hepscore.FILE_NAME, test_summing.document()
        )
    return [test_outcome.SPANS] * len(copies)


def fail(copies, say):
    """Lets the second of the copies fail when the first has a report."""
    measure(copies[:1], say)
    copies[1].log.write_text("no memory\n")
    raise processes.RunFailedError("copy 2 of 2 failed", ["no memory"])


@pytest.fixture
def run(monkeypatch, tmp_path):
    """Runs a job with these copies; returns what it wrote to standard output, as bytes."""
    monkeypatch.setattr(source, "open_events", lambda *args, **options: None)

    def run(the_job, copies=measure):
        written = io.BytesIO()
        monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(written, encoding="ascii"))
        monkeypatch.setattr(together, "run", copies)
        try:
            session.run(the_job, tmp_path)
        finally:
            sys.stdout.flush()
            run.told = written.getvalue()

    return run


def test_a_success_leaves_one_summary_with_the_result(run, tmp_path):
    run(job())

    assert [path.name for path in tmp_path.rglob("*_summary.json")] == [hepscore.FILE_NAME]
    assert b"training: 20 events/s" in run.told
    assert (tmp_path / "proc_2" / hepscore.COPY_FILE_NAME).is_file()


def test_a_failure_leaves_no_summary_not_even_an_earlier_one(run, tmp_path):
    run(job())
    with pytest.raises(processes.RunFailedError, match="copy 2"):
        run(job(), fail)

    assert not list(tmp_path.rglob("*_summary.json"))
    assert len(list(tmp_path.glob("mlpf-jax_summary_*.json"))) == 1
    assert b"no memory" in run.told


def test_a_report_of_an_earlier_run_counts_for_no_copy(run, tmp_path):
    run(job())
    with pytest.raises(FileNotFoundError, match="proc_1"):
        run(job(), lambda copies, say: [test_outcome.SPANS] * len(copies))

    assert not list(tmp_path.rglob("*_summary.json"))


def test_a_signal_after_the_summary_was_written_leaves_none(run, monkeypatch, tmp_path):
    def terminate(document):
        raise processes.Terminated

    monkeypatch.setattr(outcome, "lines", terminate)
    with pytest.raises(processes.Terminated):
        run(job())

    assert not list(tmp_path.rglob("*_summary.json"))
    assert len(list(tmp_path.glob("mlpf-jax_summary_*.json"))) == 1


def test_the_effective_configuration_is_printed_and_stored(run, tmp_path):
    run(job(remarks=("a remark",)))

    stored = (tmp_path / "inputs.log").read_text()
    assert stored.startswith("NCOPIES=2\nNTHREADS=1\nNEVENTS_THREAD=1100\n")
    for text in ("copies=2 threads=1 cores: 0 | 1", "--preset=site", "precision=float32"):
        assert text in stored
        assert text in run.told.decode()
    assert "a remark" in run.told.decode()
    assert "compilation cache: off" in run.told.decode()


def test_a_cache_is_told_and_one_of_the_surroundings_is_not_used(run, monkeypatch, tmp_path):
    monkeypatch.setenv("JAX_COMPILATION_CACHE_DIR", "/tmp/cache")
    environs = []

    def look(copies, say):
        environs.extend(copy.environ for copy in copies)
        return measure(copies, say)

    run(job(files=config.FilesConfig(data_dir=DATA, compilation_cache=Path("/tmp/warm"))), look)

    assert b"compilation cache: /tmp/warm, so runs may start warm" in run.told
    assert not any("JAX_COMPILATION_CACHE_DIR" in environ for environ in environs)


def test_logs_are_shown_on_demand_and_removed_on_demand(run, tmp_path):
    run(job(shows_logs=True, tidies=True))

    assert b"copy 2: a line" in run.told
    assert {path.name for path in tmp_path.iterdir()} == {"inputs.log", hepscore.FILE_NAME}


def test_standard_output_is_utf_8_without_carriage_returns(run, monkeypatch):
    run(job(remarks=("caf\u00e9 \r \udcff",)))

    assert "caf\u00e9" in run.told.decode("utf-8")
    assert b"\r" not in run.told


def test_one_run_at_a_time_uses_a_folder(run, tmp_path):
    def again(copies, say):
        with pytest.raises(ValueError, match="another run is writing"):
            session.run(job(), tmp_path)
        return measure(copies, say)

    run(job(), again)
