"""Shards are written atomically, also after interruptions."""

import concurrent.futures
import dataclasses
import signal
import subprocess
import sys
import threading
from typing import Any

import numpy as np
import pytest

from mlpf_jax import atomic
from mlpf_jax.events import store, writing


def tree(folder):
    """All files of a folder with their content."""
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def test_the_same_events_make_the_same_bytes(tmp_path, folder, events, origin):
    writing.write_store(tmp_path / "again", events, origin, shard_events=2)

    assert tree(tmp_path / "again") == tree(folder)


@pytest.mark.parametrize("num_files", range(5))
def test_a_writer_that_fails_between_two_files_leaves_nothing(
    tmp_path, events, num_files, monkeypatch, origin
):
    written = []

    def fail_later(path, chunks):
        if len(written) == num_files:
            raise OSError(28, "No space left on device", str(path))
        written.append(path)

    monkeypatch.setattr(atomic, "write_synced", fail_later)
    with pytest.raises(OSError, match="No space left"):
        writing.write_shard(tmp_path, "shard-00000", events, origin)

    assert not list(tmp_path.iterdir())


KILLED_WRITER = """
import json, os, pathlib, signal, sys
from mlpf_jax import atomic
from mlpf_jax.events import store, writing

folder, source, num_files = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2]), int(sys.argv[3])
write = atomic.write_synced
written = []

def die_later(path, chunks):
    if len(written) == num_files:
        os.kill(os.getpid(), signal.SIGKILL)
    write(path, chunks)
    written.append(path)

atomic.write_synced = die_later
events = store.open_store(source)
writing.write_shard(folder, "shard-00000", [events.event(i) for i in range(5)], events.provenance)
"""


@pytest.mark.parametrize("num_files", range(5))
def test_a_writer_killed_between_two_files_leaves_no_shard(
    tmp_path, folder, events, num_files, origin
):
    target = tmp_path / "target"
    arguments = [str(target), str(folder), str(num_files)]

    killed = subprocess.run([sys.executable, "-c", KILLED_WRITER, *arguments], check=False)

    assert killed.returncode == -signal.SIGKILL
    (left,) = target.iterdir()
    assert left.name.startswith(".tmp-")
    assert len(list(left.iterdir())) == num_files

    atomic.remove_leftovers(target)
    opened = writing.write_store(target, events, origin)

    assert {path.name for path in target.iterdir()} == {"shard-00000", "manifest.json"}
    opened.verify()


def test_two_writers_at_once_do_not_disturb_each_other(tmp_path, folder, events, origin):
    shared = tmp_path / "shared"
    barrier = threading.Barrier(4)

    def write():
        try:
            for _ in range(5):
                barrier.wait()
                atomic.remove_leftovers(tmp_path)
                writing.write_store(shared, events, origin, shard_events=2).verify()
        except BaseException:
            barrier.abort()  # for the others, who would wait for ever
            raise

    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        failures = [writer.exception() for writer in [pool.submit(write) for _ in range(4)]]

    assert failures == [None] * 4
    assert tree(shared) == tree(folder)


def test_an_existing_shard_is_kept(folder, events, origin):
    before = (folder / "shard-00000/elements.npy").stat()

    shard = writing.write_shard(folder, "shard-00000", events[:2], origin)

    assert shard == store.open_store(folder).manifest.shards[0]
    assert (folder / "shard-00000/elements.npy").stat().st_ino == before.st_ino


def test_a_shard_of_another_origin_is_refused(folder, events, origin):
    with pytest.raises(ValueError, match="shard-00000 has another origin"):
        writing.write_shard(folder, "shard-00000", events[:2], origin | {"seed": 2})


def test_a_folder_that_is_no_shard_is_refused(tmp_path, events, origin):
    (tmp_path / "shard-00000").mkdir()
    (tmp_path / "shard-00000/notes.txt").touch()

    with pytest.raises(ValueError, match=r"shard.json is missing: remove"):
        writing.write_shard(tmp_path, "shard-00000", events, origin)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"elements": np.zeros((3, 12))}, "event 1 has elements of float64"),
        ({"targets": np.zeros((4, 7), np.float32)}, r"event 1 has targets .*shape \(4, 7\)"),
        ({"candidates": np.zeros((3, 8), np.float32)}, r"event 1 has candidates .*\(3, 8\)"),
        ({"targets": np.array([[print] * 7] * 3)}, "event 1 has targets of object"),
    ],
)
def test_events_of_another_shape_are_refused(tmp_path, change, message, origin, make_event):
    @dataclasses.dataclass
    class Anything:
        elements: Any
        targets: Any
        candidates: Any

    good = make_event(3, 0)
    bad = Anything(**({name: getattr(good, name) for name in store.NUM_FEATURES} | change))

    with pytest.raises(ValueError, match=message):
        writing.write_shard(tmp_path, "shard-00000", [good, bad], origin)


def test_a_set_without_events_is_refused(tmp_path, origin):
    with pytest.raises(ValueError, match="at least one event"):
        writing.write_shard(tmp_path, "shard-00000", [], origin)


def test_a_shard_that_does_not_fit_on_the_disk_is_named(full_disk, events, origin):
    with pytest.raises(OSError, match="No space left on device") as caught:
        writing.write_shard(full_disk, "shard-00000", [events[0]] * 20, origin)

    assert caught.value.filename == str(full_disk / "shard-00000")
    assert not list(full_disk.iterdir())
