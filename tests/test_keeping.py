"""What a program found is kept, if not where it was asked for."""

import errno
import tempfile
from pathlib import Path

import pytest

from mlpf_jax import keeping


def test_a_full_disk_costs_nothing_that_was_found(full_disk, tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))

    with pytest.raises(OSError, match="No space left") as caught:
        keeping.write_file(full_disk / "found.json", bytes(5000))

    start, other = str(caught.value).removesuffix(".").split(". Its content is in ")
    assert start == f"{full_disk / 'found.json'}: No space left on device"
    assert Path(other).read_bytes() == bytes(5000)
    assert Path(other).name == "found.json"
    assert list(full_disk.iterdir()) == []


def test_a_complete_failure_to_save_is_reported(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "missing"))

    with pytest.raises(OSError, match=r"found: No such file or directory\. Nothing was saved\.$"):
        keeping.write_file(tmp_path / "nowhere" / "found", b"x")


def test_a_file_is_tried_before_the_work(full_disk, tmp_path):
    keeping.try_file(tmp_path / "found")

    assert not (tmp_path / "found").exists()
    with pytest.raises(OSError, match="No space left") as caught:
        keeping.try_file(full_disk / "found")
    assert (caught.value.errno, caught.value.filename) == (errno.ENOSPC, str(full_disk))
