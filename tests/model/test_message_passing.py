"""Message passing against its formula, and its handwritten gradient against autodiff."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlpf_jax.model import message_passing

SCALE = 0.1


def make_bin(size, dim, width, num_real, spread=1.0):
    keys = jax.random.split(jax.random.key(size * 100 + num_real), 3)
    mask = jnp.arange(size) < num_real
    embedding = spread * jax.random.normal(keys[0], (size, dim))
    values, cotangent = (jax.random.normal(key, (size, width)) for key in keys[1:])
    return tuple(jnp.where(mask[:, None], x, 0) for x in (embedding, values)), mask, cotangent


def by_formula(embedding, values, mask):
    """The same in plain operations, whose gradient autodiff takes, in the arguments' precision."""
    square_distance = jnp.sum((embedding[:, None] - embedding[None]) ** 2, axis=-1)
    adjacency = jnp.exp(-SCALE * jnp.sqrt(jnp.maximum(square_distance, 1e-6)))
    degree = jnp.sum(jnp.where(mask[None], adjacency, 0), axis=1)
    norm = jnp.where(mask, (jnp.minimum(degree, 1000) + 1e-6) ** -0.5, 0)[:, None]
    return norm * (adjacency @ (norm * values))


@settings(deadline=None, max_examples=25)
@given(st.integers(2, 24), st.integers(1, 9), st.integers(1, 9), st.data())
def test_values_and_gradients_are_those_of_the_formula(size, dim, width, data):
    num_real = data.draw(st.integers(0, size))
    arguments, mask, cotangent = make_bin(size, dim, width, num_real)

    def passed(embedding, values):
        return message_passing.pass_messages(embedding, values, mask, SCALE, "float32")

    out, vjp = jax.vjp(passed, *arguments)
    expected, expected_vjp = jax.vjp(lambda e, v: by_formula(e, v, mask), *arguments)

    # An element is not exactly at distance zero from itself where that is n_i - 2 x_i x_i + n_i.
    np.testing.assert_allclose(out, expected, rtol=2e-3, atol=2e-4)
    for ours, theirs in zip(vjp(cotangent), expected_vjp(cotangent), strict=True):
        # Only the real elements: what the formula says of padding is masked where it enters.
        np.testing.assert_allclose(ours[:num_real], theirs[:num_real], rtol=2e-3, atol=2e-4)


def test_padding_has_no_say():
    (embedding, values), mask, cotangent = make_bin(12, 4, 3, 7)

    def run(padding):
        where = mask[:, None]
        out, vjp = jax.vjp(
            lambda e, v: message_passing.pass_messages(e, v, mask, SCALE, "float32"),
            jnp.where(where, embedding, padding),
            jnp.where(where, values, padding),
        )
        return out, *(gradient[:7] for gradient in vjp(cotangent))

    for small, large in zip(run(0.0), run(30.0), strict=True):
        np.testing.assert_allclose(small, large, rtol=1e-5, atol=1e-6)


def test_the_order_in_a_bin_does_not_matter():
    (embedding, values), mask, _ = make_bin(12, 4, 3, 7)
    order = jax.random.permutation(jax.random.key(1), 12)

    def passed(*arguments):
        return message_passing.pass_messages(*arguments, SCALE, "float32")

    np.testing.assert_allclose(
        passed(embedding[order], values[order], mask[order]),
        passed(embedding, values, mask)[order],
        rtol=1e-5,
        atol=1e-6,
    )


def test_elements_in_one_place_pull_at_nothing():
    """Below the cut-off of the distance the reference has no slope, and division by it no sense."""
    values = jax.random.normal(jax.random.key(0), (6, 3))
    mask = jnp.ones(6, bool)

    def total(embedding):
        return jnp.sum(
            message_passing.pass_messages(embedding, values, mask, SCALE, "float32") ** 2
        )

    assert not np.any(jax.grad(total)(jnp.ones((6, 4))))


def test_a_degree_is_cut_at_a_thousand():
    size = 1100
    mask, values = jnp.ones(size, bool), jnp.ones((size, 1))

    def passed(values):
        return message_passing.pass_messages(jnp.ones((size, 2)), values, mask, SCALE, "float32")

    np.testing.assert_allclose(passed(values), size / (1000 + 1e-6), rtol=2e-3)


def test_adjacency_equals_exp_of_minus_the_scaled_distance():
    x = jax.random.normal(jax.random.key(2), (7, 4))
    distance = np.linalg.norm(np.asarray(x)[:, None] - np.asarray(x)[None], axis=-1)

    adjacency = message_passing.pair_adjacency(x, SCALE, "float32")

    expected = np.exp(-SCALE * np.maximum(distance, 1e-3))
    np.testing.assert_allclose(adjacency, expected, atol=2e-4)


@pytest.mark.parametrize("kind", ["float32", "bf16"])
def test_adjacency_of_an_element_with_itself_survives_the_precision(kind):
    """Large embeddings: rounding only the product would leave a distance of several units."""
    x = 40 * jax.random.normal(jax.random.key(3), (64, 128))

    diagonal = jnp.diagonal(message_passing.pair_adjacency(x, SCALE, kind))

    np.testing.assert_allclose(diagonal, 1.0, atol=0.06)
