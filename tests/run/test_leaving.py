"""The last words of a run agree with what it leaves."""

import signal
import types

import pytest

from mlpf_jax import config, progress, stopping
from mlpf_jax.report import incomplete, result
from mlpf_jax.run import ending, leaving, resuming


@pytest.fixture
def course(tmp_path):
    return leaving.Course(stopping.Stop(), config.FilesConfig(results_dir=tmp_path), "")


@pytest.fixture
def finished():
    return object.__new__(result.RunResult)


def test_a_signal_while_the_report_is_written_ends_the_run_after_that(
    course, finished, tmp_path, monkeypatch
):
    written = []

    def deliver(*arguments):
        course.stop._handle(signal.SIGTERM, None)
        written.append(arguments)
        return []

    monkeypatch.setattr(ending, "deliver", deliver)
    with pytest.raises(stopping.Stopped, match="SIGTERM"):
        course.deliver(finished)

    assert len(written) == 1
    line = "stopped (SIGTERM) while reporting. The report is complete."
    assert course.last_words("SIGTERM") == line
    course.fail(OSError("later"))
    assert not list(tmp_path.iterdir())


def test_a_report_has_as_much_time_after_a_signal_as_a_save(course, finished, monkeypatch):
    """That of a long run takes its time to be validated."""
    left = []
    monkeypatch.setattr(course.stop, "leave", left.append)

    def deliver(*arguments):
        for now in (0.0, 20.0):
            clock = types.SimpleNamespace(monotonic=lambda now=now: now)
            monkeypatch.setattr(stopping, "time", clock)
            course.stop._tick([] if now else [signal.SIGTERM], not now)
        return []

    monkeypatch.setattr(ending, "deliver", deliver)
    with pytest.raises(stopping.Stopped, match="SIGTERM"):
        course.deliver(finished)

    assert not left


def test_a_time_limit_that_is_near_ends_no_run_that_is_reported(course, finished, monkeypatch):
    monkeypatch.setattr(ending, "deliver", lambda *arguments: [])
    course.stop.limit(minutes=1.0, minutes_without_progress=0.0)
    course.stop.progressed(60.0)

    assert course.deliver(finished) == []


def test_a_run_without_checkpoints_says_that_nothing_is_kept(course, tmp_path):
    line = course.last_words("SIGINT")

    path = tmp_path / incomplete.FILE_NAME
    assert path.exists()
    assert line == (
        "interrupted while starting. Nothing is kept without --checkpoint_dir. Incomplete report: "
        f"{path}"
    )


def test_the_last_words_do_not_fail_if_the_checkpoints_cannot_be_read(course, tmp_path):
    class Keeper(resuming.Keeper):
        @property
        def saved_step(self):
            raise PermissionError(13, "Permission denied")

    course.keeper = Keeper(course.files, course.stop, progress.Progress(quiet=True))

    assert "Incomplete report" in course.last_words("SIGTERM")
    assert (tmp_path / incomplete.FILE_NAME).exists()
