"""Weights come back as they went; what is no whole checkpoint of this network is refused."""

import dataclasses
import json
import os
import shutil
import sys
import types

import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from orbax import checkpoint as ocp

from mlpf_jax import atomic
from mlpf_jax.training import checkpoint
from tests import tiny

RUN = tiny.run_config()


@pytest.fixture
def saved(tmp_path):
    folder = tmp_path / "weights"
    checkpoint.export(folder, tiny.random_state(RUN, seed=1))
    return folder


def test_weights_come_back_to_the_bit(saved):
    loaded = checkpoint.load_weights(saved, tiny.random_state(RUN, seed=2))

    expected = tiny.random_state(RUN, seed=1)
    jax.tree.map(np.testing.assert_array_equal, loaded.params, expected.params)
    jax.tree.map(np.testing.assert_array_equal, loaded.rotations, expected.rotations)


def test_an_earlier_checkpoint_is_not_overwritten(saved):
    with pytest.raises(ValueError, match="exists already and is not overwritten"):
        checkpoint.export(saved, tiny.random_state(RUN, seed=2))

    kept = checkpoint.load_weights(saved, tiny.random_state(RUN, seed=2)).params
    jax.tree.map(np.testing.assert_array_equal, kept, tiny.random_state(RUN, seed=1).params)


def test_another_network_is_refused_with_the_place(saved):
    model = dataclasses.replace(RUN.model, hidden_dim=16)
    other = tiny.random_state(dataclasses.replace(RUN, model=model))
    with pytest.raises(ValueError, match=r"of another network: .* here"):
        checkpoint.load_weights(saved, other)


def test_a_chunk_that_is_larger_than_its_array_is_refused(saved):
    """A file of 1 MB can hold a chunk of 1 GB, of which an array of 64 bytes is the corner."""
    current = tiny.random_state(RUN)
    weights = saved / "0" / "weights"
    shutil.rmtree(weights)
    handler = ocp.PyTreeCheckpointHandler(use_ocdbt=False)
    ocp.Checkpointer(handler).save(
        weights.resolve(), jax.tree.map(np.asarray, checkpoint._weights(current))
    )
    part = max(weights.glob("params*/.zarray"))
    layout = json.loads(part.read_text())
    part.write_text(json.dumps(layout | {"chunks": [2**20] * len(layout["chunks"])}))
    (saved / "0" / "sha256.json").write_text(json.dumps(checkpoint._hashes(saved / "0")))

    with pytest.raises(ValueError, match=r"step 0: params.* has chunks of \(1048576"):
        checkpoint.load_weights(saved, current)
    with pytest.raises(ValueError, match=r"^params.* has chunks of \(1048576"):
        checkpoint.read_weights(saved / "0")


def test_an_unfinished_write_leaves_nothing(tmp_path, monkeypatch):
    def fail(path, chunks):
        raise OSError("No space left on device")

    monkeypatch.setattr(atomic, "write_synced", fail)
    with pytest.raises(OSError, match="No space left"):
        checkpoint.export(tmp_path / "weights", tiny.random_state(RUN))
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_not_a_checkpoint_is_refused(tmp_path):
    with pytest.raises(ValueError, match="no checkpoint is there"):
        checkpoint.load_weights(tmp_path, tiny.random_state(RUN))


def test_a_flipped_bit_is_found(saved):
    path = max(saved.rglob("*"), key=lambda p: p.stat().st_size if p.is_file() else 0)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(ValueError, match="step 0: damaged, its SHA-256"):
        checkpoint.load_weights(saved, tiny.random_state(RUN))


def test_a_full_disk_is_one_error_and_leaves_nothing(full_disk, capfd):
    with pytest.raises(OSError, match="No space left on device"):
        checkpoint.export(full_disk / "weights", tiny.random_state(RUN, seed=1))

    assert list(full_disk.iterdir()) == []
    assert capfd.readouterr().err == ""


@settings(max_examples=25)
@given(seal=st.binary(max_size=40) | st.sampled_from([b"[" * 10**5, b'{"a": NaN}', b"1" * 5000]))
def test_a_seal_with_foreign_content_is_refused(tmp_path_factory, seal):
    folder = tmp_path_factory.mktemp("step")
    (folder / "sha256.json").write_bytes(seal)
    (folder / "weights").write_bytes(b"")

    with pytest.raises(ValueError, match="damaged"):
        checkpoint.verify(folder)


def save(store, step):
    current = tiny.random_state(RUN)
    store.save(step, current._replace(step=current.step + step), {})


@pytest.fixture
def store(tmp_path):
    store = checkpoint.Store(tmp_path / "checkpoints")
    yield store
    store.close()


@pytest.mark.slow
@pytest.mark.parametrize("next_step", [7, 9, 10])
def test_a_damaged_checkpoint_does_not_push_out_the_sound_one(store, next_step):
    save(store, 5)
    save(store, 9)
    (store.folder / "9" / "sha256.json").write_text("{}")
    like = tiny.random_state(RUN)
    assert store.newest(like)[0].step == 5

    save(store, next_step)

    assert store.steps == [next_step, 5]


def test_what_tasks_tell_after_a_failed_read_is_hidden(saved, monkeypatch):
    told = []
    monkeypatch.setattr(sys, "unraisablehook", told.append)
    (saved / "0" / "weights" / "_METADATA").unlink()

    with pytest.raises(ValueError, match="cannot be read"):
        checkpoint.read_weights(saved / "0")
    sys.unraisablehook(types.SimpleNamespace(exc_value=RuntimeError("Event loop is closed")))
    sys.unraisablehook(types.SimpleNamespace(exc_value=RuntimeError("another")))

    assert [str(one.exc_value) for one in told] == ["another"]


@pytest.mark.slow
def test_a_record_that_could_not_be_read_again_is_not_kept(store, monkeypatch):
    save(store, 5)
    monkeypatch.setattr(checkpoint, "_LARGEST_JSON", 10)

    with pytest.raises(OSError, match="its record is too large, more than 10 bytes"):
        save(store, 7)

    assert store.steps == [5]


@pytest.mark.slow
def test_a_failed_save_leaves_no_step_to_go_on_from(store, monkeypatch):
    save(store, 5)

    def fail(path, content):
        raise OSError(28, "No space left on device", str(path))

    with monkeypatch.context() as patch:
        patch.setattr(atomic, "write_file", fail)
        with pytest.raises(OSError, match="No space left"):
            save(store, 7)

    assert store.steps == [5]
    assert {path.name for path in store.folder.iterdir()} == {"5", ".lock"}
    save(store, 7)
    assert store.newest(tiny.random_state(RUN))[0].step == 7


def seal(path):
    content = json.dumps(checkpoint._hashes(path))
    (path / "sha256.json").write_text(content)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["weights/_METADATA", "weights/manifest.ocdbt", "record/metadata"])
def test_a_sealed_checkpoint_that_orbax_cannot_read_is_left_out(store, name):
    save(store, 5)
    path = store.folder / "5"
    (path / name).write_bytes(b"{}")
    seal(path)

    restored, (problem,) = store.newest(tiny.random_state(RUN))

    assert restored is None
    assert problem.startswith(f"{path}: ")


def test_a_checkpoint_with_a_link_or_a_pipe_is_refused(saved, tmp_path):
    (tmp_path / "elsewhere").symlink_to(saved / "0")
    path = saved / "0" / "weights" / "_METADATA"
    path.rename(tmp_path / "there")
    path.symlink_to(tmp_path / "there")

    for folder in (tmp_path / "elsewhere", saved / "0"):
        with pytest.raises(ValueError, match="has a symbolic link"):
            checkpoint.verify(folder)

    path.unlink()
    os.mkfifo(path)
    with pytest.raises(ValueError, match="has something that is no file, _METADATA"):
        checkpoint.verify(saved / "0")
