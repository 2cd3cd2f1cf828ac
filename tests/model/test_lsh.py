"""Binning loses nothing, keeps ties in order, and puts padding last."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from mlpf_jax.model import lsh

NUM_ELEMENTS, NUM_BINS, DIM = 48, 6, 5


@pytest.fixture
def hashed():
    embedding_key, rotation_key = jax.random.split(jax.random.key(0))
    embedding = jax.random.normal(embedding_key, (2, NUM_ELEMENTS, DIM))
    mask = jnp.broadcast_to(jnp.arange(NUM_ELEMENTS) < 40, (2, NUM_ELEMENTS))
    rotations = jax.random.normal(rotation_key, (DIM, 10))
    hashes = lsh.hash_elements(embedding, mask, rotations, NUM_BINS)
    return embedding, mask, rotations, hashes


def test_hash_is_the_nearest_axis_of_either_sign(hashed):
    embedding, mask, rotations, hashes = hashed
    for event in range(2):
        for i in range(NUM_ELEMENTS):
            scores = np.asarray(embedding[event, i]) @ np.asarray(rotations[:, : NUM_BINS // 2])
            expected = np.argmax([*scores, *(-scores)]) + (0 if mask[event, i] else NUM_BINS - 1)
            assert hashes[event, i] == expected


@settings(max_examples=50)
@given(hnp.arrays(np.int32, (2, 24), elements=st.integers(0, 9)))
def test_order_is_the_stable_sort_and_inverse_undoes_it(hashes):
    order, inverse = lsh.sort_by_hash(jnp.asarray(hashes))

    np.testing.assert_array_equal(order, np.argsort(hashes, axis=-1, kind="stable"))
    np.testing.assert_array_equal(
        np.take_along_axis(np.asarray(order), np.asarray(inverse), -1),
        np.broadcast_to(np.arange(24), (2, 24)),
    )


def test_padding_never_comes_before_a_lower_bucket(hashed):
    _, mask, _, hashes = hashed
    assert np.min(np.asarray(hashes)[~np.asarray(mask)]) >= NUM_BINS - 1


def test_permuting_forth_and_back_changes_nothing(hashed):
    embedding, _, _, hashes = hashed
    order, inverse = lsh.sort_by_hash(hashes)

    there = lsh.permute(embedding, order, inverse)

    np.testing.assert_array_equal(there, jnp.take_along_axis(embedding, order[..., None], axis=-2))
    np.testing.assert_array_equal(lsh.permute(there, inverse, order), embedding)


def test_gradient_of_permuting_is_that_of_indexing_without_a_scatter(hashed):
    embedding, _, _, hashes = hashed
    order, inverse = lsh.sort_by_hash(hashes)
    weight = jnp.arange(embedding.size, dtype=jnp.float32).reshape(embedding.shape)

    def loss(x):
        return jnp.sum(weight * lsh.permute(x, order, inverse))

    def reference(x):
        return jnp.sum(weight * jnp.take_along_axis(x, order[..., None], axis=-2))

    np.testing.assert_array_equal(jax.grad(loss)(embedding), jax.grad(reference)(embedding))
    assert "scatter" not in jax.jit(jax.grad(loss)).lower(embedding).as_text()


@settings(max_examples=50)
@given(st.lists(st.integers(0, 3), min_size=1, max_size=6), st.booleans(), st.data())
def test_sorting_in_events_mixes_no_two_events(bins, is_long, data):
    """Also for so many rows that sorting needs two integer keys."""
    num_events = 2**27 if is_long else len(bins)
    event = np.repeat([*range(len(bins)), num_events], np.multiply([*bins, 2], 4)).astype(np.int32)
    hashes = data.draw(hnp.arrays(np.int32, len(event), elements=st.integers(0, 11)))
    ragged = lsh.Ragged(jnp.asarray(event), num_events, num_bins=6)

    order, inverse = (np.asarray(x) for x in lsh.sort_in_events(jnp.asarray(hashes), ragged))

    np.testing.assert_array_equal(event[order], event)
    np.testing.assert_array_equal(order[inverse], np.arange(len(event)))
    for number in {*event.tolist()}:
        (rows,) = np.nonzero(event == number)
        expected = rows[np.argsort(hashes[rows], kind="stable")]
        np.testing.assert_array_equal(order[rows], expected)
