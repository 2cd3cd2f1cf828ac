"""Leftovers are those of the dead: what a living writer holds is not touched."""

import pytest

from mlpf_jax import atomic


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

    atomic.remove_leftovers(tmp_path)

    assert [path.name for path in tmp_path.iterdir()] == ["kept"]


def test_what_a_living_writer_holds_is_left_alone(tmp_path):
    with atomic.new_folder(tmp_path / "folder") as temporary:
        atomic.remove_leftovers(tmp_path)
        (temporary / "inside").touch()

    assert (tmp_path / "folder/inside").exists()


def test_a_link_among_leftovers_is_not_followed(tmp_path):
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious/inside").touch()
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache/.tmp-x").symlink_to(tmp_path / "precious")

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
