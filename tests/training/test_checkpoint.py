"""Weights come back as they went; what is no whole checkpoint of this network is refused."""

import dataclasses

import jax
import numpy as np
import pytest

from mlpf_jax.training import checkpoint
from tests import tiny

RUN = tiny.run_config()


@pytest.fixture
def saved(tmp_path):
    folder = tmp_path / "weights"
    checkpoint.save(folder, tiny.random_state(RUN, seed=1))
    return folder


def test_weights_come_back_to_the_bit(saved):
    loaded = checkpoint.load(saved, tiny.random_state(RUN, seed=2))

    expected = tiny.random_state(RUN, seed=1)
    jax.tree.map(np.testing.assert_array_equal, loaded.params, expected.params)
    jax.tree.map(np.testing.assert_array_equal, loaded.rotations, expected.rotations)


def test_an_earlier_checkpoint_is_not_overwritten(saved):
    with pytest.raises(ValueError, match="exists already and is not overwritten"):
        checkpoint.save(saved, tiny.random_state(RUN, seed=2))
    assert checkpoint.load(saved, tiny.random_state(RUN)).params


def test_another_network_is_refused_with_the_place(saved):
    model = dataclasses.replace(RUN.model, hidden_dim=16)
    other = tiny.random_state(dataclasses.replace(RUN, model=model))
    with pytest.raises(ValueError, match=r"of another network: .* here"):
        checkpoint.load(saved, other)


def test_what_was_not_finished_is_no_checkpoint(saved):
    (saved / "_CHECKPOINT_METADATA").unlink()
    with pytest.raises(ValueError, match="no whole checkpoint is there"):
        checkpoint.load(saved, tiny.random_state(RUN))


@pytest.mark.filterwarnings("ignore")
def test_damage_is_one_line(saved):
    for path in saved.rglob("*"):
        if path.is_file() and path.stat().st_size > 10_000 and path.name != "_METADATA":
            path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(ValueError, match="--checkpoint=") as error:
        checkpoint.load(saved, tiny.random_state(RUN))
    assert "\n" not in str(error.value)
