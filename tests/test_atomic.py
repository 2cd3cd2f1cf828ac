"""Leftovers are those of the dead: what a living writer holds is not touched."""

import concurrent.futures
import errno
import multiprocessing
import os
import stat
from unittest import mock

import pytest

from mlpf_jax import atomic


@pytest.fixture(params=[errno.EINVAL, errno.ENOTSUP, errno.EIO, errno.EACCES])
def no_sync_of_folders(request, monkeypatch):
    """A file system, as CIFS or one by FUSE may be, that refuses to sync its folders."""
    fsync = os.fsync

    def refuse(descriptor):
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(request.param, os.strerror(request.param))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", refuse)


def test_a_file_is_whole_where_folders_cannot_be_synced(tmp_path, no_sync_of_folders):
    atomic.write_file(tmp_path / "file", b"new")

    assert [path.read_bytes() for path in tmp_path.iterdir()] == [b"new"]


def test_a_folder_is_whole_where_folders_cannot_be_synced(tmp_path, no_sync_of_folders):
    with atomic.new_folder(tmp_path / "folder") as temporary:
        atomic.write_synced(temporary / "file", [b"new"])

    assert [path.name for path in tmp_path.iterdir()] == ["folder"]
    assert (tmp_path / "folder/file").read_bytes() == b"new"


def refuse_to_sync(monkeypatch, code):
    def fail(descriptor):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "fsync", fail)


@pytest.mark.parametrize("code", [errno.EINVAL, errno.ENOSYS])
def test_a_file_is_whole_where_nothing_can_be_synced(tmp_path, monkeypatch, code):
    refuse_to_sync(monkeypatch, code)

    atomic.write_file(tmp_path / "file", b"new")

    assert [path.name for path in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize("code", [errno.EIO, errno.ENOSPC, errno.EDQUOT])
def test_a_file_is_lost_if_syncing_it_was_tried_and_failed(tmp_path, monkeypatch, code):
    """Network file systems report a full disk only then."""
    refuse_to_sync(monkeypatch, code)

    with pytest.raises(OSError, match=os.strerror(code)):
        atomic.write_file(tmp_path / "file", b"new")

    assert not list(tmp_path.iterdir())


def test_a_tree_that_others_wrote_is_synced_or_known_to_be_lost(tmp_path, monkeypatch):
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "file").write_bytes(b"content")
    atomic.sync_tree(tmp_path)

    refuse_to_sync(monkeypatch, errno.EIO)
    with pytest.raises(OSError, match="Input/output"):
        atomic.sync_tree(tmp_path)


def test_a_folder_that_cannot_be_read_is_still_written_into(tmp_path, monkeypatch):
    folder = tmp_path / "missing"

    with atomic.locked(folder):
        folder.mkdir()

    assert folder.is_dir()


def test_a_folder_that_stays_locked_keeps_no_report(tmp_path, monkeypatch):
    monkeypatch.setattr(atomic, "_PATIENCE_S", 0.0)

    with atomic.locked(tmp_path):
        atomic.write_new(tmp_path / "report", b"new")

    assert (tmp_path / "report").read_bytes() == b"new"


def test_a_file_is_replaced_whole(tmp_path):
    path = tmp_path / "file"
    atomic.write_file(path, b"old")
    atomic.write_file(path, b"new")

    assert path.read_bytes() == b"new"
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_that_cannot_be_replaced_stays_as_it_is(tmp_path, monkeypatch):
    path = tmp_path / "file"
    atomic.write_file(path, b"old")

    def fail(path, chunks):
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(atomic, "write_synced", fail)
    with pytest.raises(OSError, match="Input/output"):
        atomic.write_file(path, b"new")

    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_leftovers_of_the_dead_are_removed(tmp_path):
    (tmp_path / ".tmp-file-1-00").touch()
    (tmp_path / ".tmp-folder-1-00").mkdir()
    (tmp_path / ".tmp-folder-1-00/inside").touch()
    (tmp_path / "kept").touch()
    (tmp_path / ".tmp-of-others").touch()

    atomic.remove_leftovers(tmp_path)

    assert {path.name for path in tmp_path.iterdir()} == {"kept", ".tmp-of-others"}


def test_files_of_a_running_writer_are_left_alone(tmp_path):
    with atomic.new_folder(tmp_path / "folder") as temporary:
        atomic.remove_leftovers(tmp_path)
        (temporary / "inside").touch()

    assert (tmp_path / "folder/inside").exists()


def test_a_link_among_leftovers_is_not_followed(tmp_path):
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious/inside").touch()
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache/.tmp-x-1-00").symlink_to(tmp_path / "precious")

    atomic.remove_leftovers(tmp_path / "cache")

    assert (tmp_path / "precious/inside").exists()


def test_a_failed_folder_leaves_nothing(tmp_path):
    with pytest.raises(KeyboardInterrupt), atomic.new_folder(tmp_path / "folder"):
        raise KeyboardInterrupt

    assert not list(tmp_path.iterdir())


def test_the_first_of_two_folders_is_kept(tmp_path):
    with atomic.new_folder(tmp_path / "folder") as slow:
        (slow / "slow").touch()
        with atomic.new_folder(tmp_path / "folder") as fast:
            (fast / "fast").touch()

    assert [path.name for path in (tmp_path / "folder").iterdir()] == ["fast"]
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]


def test_existing_files_are_kept_under_their_own_names(tmp_path):
    path = tmp_path / "a.json"
    kept = []
    for content in (b"1", b"2", b"3"):
        kept.append(atomic.write_new(path, content))
        os.utime(path, (1663675200, 1663675200))

    assert [other and other.name for other in kept] == [
        None,
        "a_2022-09-20T120000Z.json",
        "a_2022-09-20T120000Z_2.json",
    ]
    assert [other.read_bytes() for other in (*kept[1:], path)] == [b"1", b"2", b"3"]
    assert len(list(tmp_path.iterdir())) == 3


def test_processes_that_write_at_the_same_time_lose_nothing(tmp_path):
    contents = [str(number).encode() for number in range(20)]
    context = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(2, context) as pool:
        list(pool.map(atomic.write_new, [tmp_path / "a"] * len(contents), contents))

    assert sorted(path.read_bytes() for path in tmp_path.iterdir()) == sorted(contents)


def test_a_full_disk_is_reported_with_the_target_file(full_disk):
    (full_disk / "a").write_bytes(b"old")

    for write in (atomic.write_file, atomic.write_new):
        with pytest.raises(OSError, match="No space left on device") as caught:
            write(full_disk / "a", bytes(10**5))
        assert caught.value.filename == str(full_disk / "a")

    assert [path.read_bytes() for path in full_disk.iterdir()] == [b"old"]


@pytest.mark.parametrize("error", [None, errno.EOPNOTSUPP])
def test_a_disk_that_is_too_small_is_known_before(full_disk, monkeypatch, error):
    """Whether its file system can reserve space, or must be written to."""
    if error:
        refuse = OSError(error, os.strerror(error))
        monkeypatch.setattr(os, "posix_fallocate", mock.Mock(side_effect=refuse))

    atomic.try_writing(full_disk, 1000)
    with pytest.raises(OSError, match="No space left on device") as caught:
        atomic.try_writing(full_disk, 10**5)

    assert caught.value.filename == str(full_disk)
    assert not list(full_disk.iterdir())


def test_trying_to_write_removes_the_trial_of_a_killed_process(tmp_path):
    (tmp_path / ".tmp-trial-1-00").write_bytes(bytes(1000))

    atomic.try_writing(tmp_path, 10)

    assert not list(tmp_path.iterdir())
