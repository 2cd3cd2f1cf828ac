"""What else is in a folder of checkpoints stays, and time in which no run was alive is no work."""

import shutil
import time

import pytest

from mlpf_jax.training import checkpoint_folder


def add(folder, step, *, sealed=True):
    (folder / step / "weights").mkdir(parents=True)
    if sealed:
        (folder / step / checkpoint_folder.SEAL).write_text("{}")


def names(folder):
    return {path.name for path in folder.iterdir()}


def test_only_what_was_finished_is_a_checkpoint(tmp_path):
    add(tmp_path, "9")
    add(tmp_path, "10")
    add(tmp_path, "11", sealed=False)

    assert checkpoint_folder.steps(tmp_path) == [10, 9]


def test_what_was_not_finished_is_removed(tmp_path):
    add(tmp_path, "9")
    add(tmp_path, "10", sealed=False)
    (tmp_path / "11.orbax-checkpoint-tmp").mkdir()
    (tmp_path / "12").mkdir()  # half removed
    (tmp_path / "notes").touch()

    checkpoint_folder.clear(tmp_path)

    assert names(tmp_path) == {"9", "notes"}


def make_others(folder, how):
    if how == "link":
        (folder / "there").mkdir()
        (folder / "2022").symlink_to(folder / "there")
    elif how == "file":
        (folder / "2022").touch()
    elif how == "name":
        add(folder, "007")
    else:
        (folder / "2022").mkdir()
        (folder / "2022" / "thesis.tex").touch()


@pytest.mark.parametrize("how", ["folder", "file", "link", "name"])
def test_a_number_that_is_no_checkpoint_is_refused_and_stays(tmp_path, how):
    add(tmp_path, "10", sealed=False)
    make_others(tmp_path, how)
    before = sorted(tmp_path.rglob("*"))

    with pytest.raises(ValueError, match=r"contains (2022|007), which is no checkpoint"):
        checkpoint_folder.clear(tmp_path)

    assert sorted(tmp_path.rglob("*")) == before


def test_a_folder_without_checkpoints_is_not_complete(tmp_path):
    """Otherwise the next run there could not be resumed."""
    add(tmp_path, "9")
    checkpoint_folder.complete(tmp_path)
    checkpoint_folder.clear(tmp_path)
    assert checkpoint_folder.is_complete(tmp_path)

    (tmp_path / "9" / checkpoint_folder.SEAL).unlink()
    checkpoint_folder.clear(tmp_path)

    assert not checkpoint_folder.is_complete(tmp_path)


def live(folder, monkeypatch, start_s, last_s):
    """Has the lock for some time."""
    monkeypatch.setattr(time, "time", lambda: start_s)
    lock = checkpoint_folder.Lock(folder)
    monkeypatch.setattr(time, "time", lambda: last_s)
    lock.show_life()
    lock.close()


def test_time_between_two_processes_is_no_time_of_work(tmp_path, monkeypatch):
    live(tmp_path, monkeypatch, 100, 160)  # saved at 140
    live(tmp_path, monkeypatch, 500, 530)  # went on, and was killed before it saved
    live(tmp_path, monkeypatch, 600, 600)  # was refused
    monkeypatch.undo()
    copy = tmp_path / "copy"  # which has other times of its files
    copy.mkdir()
    shutil.copyfile(tmp_path / ".lock", copy / ".lock")

    lock = checkpoint_folder.Lock(copy)

    assert lock.alive_since(140.0) == pytest.approx(20 + 30)
    assert lock.alive_since(510.0) == pytest.approx(20)
    assert lock.alive_since(700.0) == 0
    lock.close()


def test_a_lock_with_foreign_content_can_be_had(tmp_path):
    foreign = b"\xff\n1\nnan 5\n7 3\n1e999 2 3\n10 20\n"
    for first, found_s in ((b"100\n", 90), (b"nan\n", 0), (b"", 0)):
        (tmp_path / ".lock").write_bytes(first + foreign)

        lock = checkpoint_folder.Lock(tmp_path)

        assert lock.alive_since(0.0) == pytest.approx(found_s)
        lock.close()
