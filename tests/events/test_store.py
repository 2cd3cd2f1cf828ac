"""Written events are read back, and damage is found and named."""

import hashlib
import json
import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlpf_jax.events import store, writing


def digest_in_memory(events):
    """The content digest by its definition, from four concatenated arrays."""
    arrays = {
        "offsets": np.cumsum([0] + [len(event.elements) for event in events], dtype=np.int64),
        "X": np.concatenate([event.elements for event in events]),
        "ygen": np.concatenate([event.targets for event in events]),
        "ycand": np.concatenate([event.candidates for event in events]),
    }
    digest = hashlib.sha256()
    for name, array in arrays.items():
        digest.update(f"{name}:{array.dtype.str}:{array.shape}".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()


def rewrite(path, **changes):
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


@settings(max_examples=50)
@given(lengths=st.lists(st.integers(0, 9), min_size=1, max_size=9), shard_events=st.integers(1, 10))
def test_ragged_events_come_back_whatever_the_shard_size(
    tmp_path_factory, make_event, origin, lengths, shard_events
):
    events = [make_event(length, seed) for seed, length in enumerate(lengths)]
    folder = tmp_path_factory.mktemp("set")

    opened = writing.write_store(folder, events, origin, shard_events=shard_events)

    assert (opened.num_events, opened.num_elements) == (len(lengths), sum(lengths))
    assert opened.event_lengths.tolist() == lengths
    assert opened.digest() == digest_in_memory(events)
    for index, event in enumerate(events):
        for name in store.NUM_FEATURES:
            found = getattr(opened.event(index), name)
            assert found.tobytes() == getattr(event, name).tobytes()
            assert found.shape == getattr(event, name).shape


@pytest.mark.parametrize("num_events", range(1, 6))
def test_digest_of_the_first_events_is_that_of_a_smaller_set(folder, events, num_events):
    assert store.open_store(folder).digest(num_events) == digest_in_memory(events[:num_events])


def test_events_are_views_that_cannot_be_written(folder):
    elements = store.open_store(folder).event(0).elements

    assert not elements.flags.writeable
    assert not elements.flags.owndata


@pytest.mark.parametrize("index", [-1, 5])
def test_there_are_no_events_beyond_the_ends(folder, index):
    with pytest.raises(IndexError, match="contains 5"):
        store.open_store(folder).event(index)


def test_digest_of_more_events_than_there_are_is_refused(folder):
    with pytest.raises(ValueError, match="contains 5 events, not 6"):
        store.open_store(folder).digest(6)


def test_an_undamaged_set_is_verified(folder):
    store.open_store(folder).verify()


@pytest.mark.parametrize("name", ["offsets", "elements", "targets", "candidates"])
def test_a_flipped_bit_is_found_and_named(folder, name):
    path = folder / "shard-00001" / f"{name}.npy"
    opened = store.open_store(folder)
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)

    with pytest.raises(ValueError, match=f"^{path} is damaged: "):
        opened.verify()


def test_all_damaged_files_are_counted(folder):
    for path in folder.glob("*/targets.npy"):
        path.write_bytes(path.read_bytes()[:-1] + b"\xff")

    with pytest.raises(ValueError, match="and 2 more files"):
        store.open_store(folder).verify()


def remove_shard(folder):
    (folder / "shard-00001").rename(folder / "elsewhere")


def remove_file(folder):
    (folder / "shard-00001/targets.npy").unlink()


def cut_file(folder):
    path = folder / "shard-00001/targets.npy"
    path.write_bytes(path.read_bytes()[:-1])


def cut_header(folder):
    path = folder / "shard-00001/targets.npy"
    path.write_bytes(path.read_bytes()[:30])


def break_header(folder):
    path = folder / "shard-00001/targets.npy"
    path.write_bytes(path.read_bytes().replace(b"'shape': (", b"'shape': [("))


def turn_shape(folder):
    path = folder / "shard-00001/targets.npy"
    path.write_bytes(path.read_bytes().replace(b"(8, 7), } ", b"(-8, 7), }"))


def mix_header(folder):
    path = folder / "shard-00001/targets.npy"
    path.write_bytes(path.read_bytes().replace(b"'shape': (8, 7), } ", b"B'shape': (8, 7), }"))


def empty_file(folder):
    (folder / "shard-00001/targets.npy").write_bytes(b"")


def lengthen_file(folder):
    path = folder / "shard-00001/targets.npy"
    path.write_bytes(path.read_bytes() + b"\0")


def smuggle_objects(folder):
    objects = np.array([[print] * 7] * 8, object)
    np.save(folder / "shard-00001/targets.npy", objects, allow_pickle=True)


def save_as(array):
    return lambda folder: np.save(folder / "shard-00001/targets.npy", array)


def disorder_offsets(folder):
    np.save(folder / "shard-00001/offsets.npy", np.array([0, 9, 8]))


def change(**changes):
    return lambda folder: rewrite(folder / "manifest.json", **changes)


def change_shard(**changes):
    def damage(folder):
        shards = json.loads((folder / "manifest.json").read_text())["shards"]
        rewrite(folder / "manifest.json", shards=[shards[0] | changes, *shards[1:]])

    return damage


def write_manifest(content):
    return lambda folder: (folder / "manifest.json").write_bytes(content)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (remove_shard, "shard-00001 is missing"),
        (remove_file, "targets.npy is missing"),
        (cut_file, "targets.npy is not a complete .npy file"),
        (cut_header, "targets.npy is not a complete .npy file"),
        (break_header, "targets.npy is not a complete .npy file"),
        (turn_shape, "targets.npy is not a complete .npy file"),
        (mix_header, "targets.npy is not a complete .npy file"),
        (empty_file, "targets.npy is not a complete .npy file"),
        (lengthen_file, "targets.npy is longer than its header says"),
        (smuggle_objects, "targets.npy is not a complete .npy file: .*Python objects"),
        (save_as(np.zeros((8, 7))), "targets.npy has the wrong count or type: float64"),
        (save_as(np.zeros((9, 7), np.float32)), r"has the wrong count or type: float32 \(9, 7\)"),
        (save_as(np.zeros((7, 8), np.float32).T), "has the wrong count or type"),
        (disorder_offsets, "offsets.npy is damaged"),
        (lambda folder: (folder / "manifest.json").unlink(), "has no manifest.json"),
        (write_manifest(b"{"), "manifest.json is not JSON"),
        (write_manifest(b"\xff\xfe"), "manifest.json is not JSON"),
        (write_manifest(b"[" * 100_000), "manifest.json is not JSON"),
        (write_manifest(b"[]"), "manifest.json is not a JSON object"),
        (
            lambda folder: os.truncate(folder / "manifest.json", 2**26 + 1),
            "manifest.json is larger than 67108864 bytes",
        ),
        (change(format="other"), "is not a manifest of events"),
        (change(schema_version=2), "has schema version 2, but this program reads 1"),
        (change(num_events=6), "wrong count: num_events is 6, the sum over its shards is 5"),
        (change(num_elements=15), "wrong count: num_elements is 15, the sum over its shards is 16"),
        (change(shards=[]), "lists no shards"),
        (change(shards=[1]), "damaged shard record"),
        (change(provenance={"kind": "guessed"}), "has no provenance of its events"),
        (change_shard(name="../elsewhere"), "damaged shard record"),
        (change_shard(name="shard-00001"), "lists a shard twice"),
        (change_shard(num_events=2**25), "lists more than 33554432 events"),
        (change_shard(num_events=True), "damaged shard record"),
        (change_shard(sha256={}), "damaged shard record"),
    ],
)
def test_a_damaged_set_is_refused_in_one_line(folder, damage, message):
    damage(folder)

    with pytest.raises(ValueError, match=message) as caught:
        store.open_store(folder)

    assert str(folder) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_offsets_whose_differences_overflow_are_refused(tmp_path, events, origin):
    writing.write_store(tmp_path, events, origin)
    np.save(tmp_path / "shard-00000/offsets.npy", np.array([0, 2**63 - 1, -(2**63), -1, 0, 16]))

    with pytest.raises(ValueError, match=r"offsets.npy is damaged: its offsets are inconsistent"):
        store.open_store(tmp_path)


def test_a_shard_of_another_length_than_the_manifest_says_is_refused(folder):
    shards = json.loads((folder / "manifest.json").read_text())["shards"]
    shards[0]["num_events"] += 1
    rewrite(folder / "manifest.json", shards=shards, num_events=6)

    with pytest.raises(ValueError, match=r"offsets.npy has the wrong count"):
        store.open_store(folder)


_FEW_FILES = """
import pathlib, resource, sys
import numpy as np
from mlpf_jax.events import store

resource.setrlimit(resource.RLIMIT_NOFILE, (128, 128))
events = store.open_store(pathlib.Path(sys.argv[1]))
events.verify()
assert sum(len(events.event(index).elements) for index in range(100)) == 500
print(events.digest())
"""


def test_more_shards_are_read_than_files_may_be_open(tmp_path, make_event, origin):
    events = [make_event(5, seed) for seed in range(100)]
    made = writing.write_store(tmp_path / "many", events, origin, shard_events=1)

    done = subprocess.run(
        [sys.executable, "-c", _FEW_FILES, str(made.path)], capture_output=True, text=True
    )

    assert done.stderr == ""
    assert done.stdout.strip() == digest_in_memory(events)


def cut(path):
    os.truncate(path, 64)


def overwrite(path):
    content = path.read_bytes()
    os.utime(path, ns=(0, 0))
    with path.open("r+b") as file:
        file.write(content[:-4] + bytes(4))


def replace(path):
    other = path.with_suffix(".new")
    other.write_bytes(bytes(path.stat().st_size))
    other.replace(path)


@pytest.mark.parametrize("change", [cut, overwrite])
def test_events_that_change_while_they_are_open_are_refused(folder, change):
    opened = store.open_store(folder)
    path = folder / "shard-00000" / "targets.npy"
    change(path)

    with pytest.raises(ValueError, match=f"^{path} has changed since it was opened"):
        opened.event(0)


@pytest.mark.parametrize("change", [pathlib.Path.unlink, replace])
def test_events_that_are_removed_while_they_are_open_stay_as_they_were(folder, change):
    opened = store.open_store(folder)
    before = opened.digest()
    change(folder / "shard-00000" / "targets.npy")

    assert opened.digest() == before


def test_a_file_that_is_replaced_between_two_mappings_is_refused(folder, monkeypatch):
    monkeypatch.setattr(store, "_MOST_MAPPED", 1)
    opened = store.open_store(folder)
    replace(folder / "shard-00000" / "targets.npy")

    with pytest.raises(ValueError, match=r"targets\.npy has changed since"):
        opened.event(0)
