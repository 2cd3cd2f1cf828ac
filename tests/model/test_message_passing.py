"""Message passing against its formula, and its handwritten gradient against autodiff."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mlpf_jax.model import message_passing

SCALE = 0.1


def make_bin(size, dim, width, num_real, spread=1.0):
    rng = np.random.default_rng(size * 100 + num_real)
    mask = np.arange(size) < num_real
    embedding = spread * rng.normal(size=(size, dim))
    values, cotangent = (rng.normal(size=(size, width)) for _ in range(2))
    arrays = [np.where(mask[:, None], x, 0) for x in (embedding, values)]
    return tuple(x.astype(np.float32) for x in arrays), mask, cotangent.astype(np.float32)


def passed(embedding, values, mask):
    return message_passing.pass_messages(embedding, values, mask, SCALE, "float32")


def by_formula(embedding, values, mask):
    """The same in plain operations, whose gradient autodiff takes, in the arguments' precision."""
    square_distance = jnp.sum((embedding[:, None] - embedding[None]) ** 2, axis=-1)
    adjacency = jnp.exp(-SCALE * jnp.sqrt(jnp.maximum(square_distance, 1e-6)))
    degree = jnp.sum(jnp.where(mask[None], adjacency, 0), axis=1)
    norm = jnp.where(mask, (jnp.minimum(degree, 1000) + 1e-6) ** -0.5, 0)[:, None]
    return norm * (adjacency @ (norm * values))


@functools.partial(jax.jit, static_argnums=0)
def with_gradients(function, embedding, values, mask, cotangent):
    out, vjp = jax.vjp(lambda e, v: function(e, v, mask), embedding, values)
    return out, *vjp(cotangent)


def both_ways(*arguments):
    """Returns the result and both gradients, on the host: there a slice compiles nothing."""
    return jax.device_get(with_gradients(*arguments))


@pytest.mark.parametrize(
    ("size", "dim", "width"), [(2, 1, 1), (5, 9, 1), (8, 1, 9), (13, 4, 6), (24, 9, 9)]
)
def test_values_and_gradients_are_those_of_the_formula(size, dim, width):
    for num_real in range(size + 1):
        (embedding, values), mask, cotangent = make_bin(size, dim, width, num_real)

        ours = both_ways(passed, embedding, values, mask, cotangent)
        expected = both_ways(by_formula, embedding, values, mask, cotangent)

        # An element is not exactly at distance zero from itself if that is n_i - 2 x_i x_i + n_i.
        np.testing.assert_allclose(ours[0], expected[0], rtol=2e-3, atol=2e-4)
        for one, other in zip(ours[1:], expected[1:], strict=True):
            # Only the real elements: what the formula says of padding is masked where it enters.
            np.testing.assert_allclose(one[:num_real], other[:num_real], rtol=2e-3, atol=2e-4)


def test_padding_does_not_affect_the_output():
    arrays, mask, cotangent = make_bin(12, 4, 3, 7)

    def run(padding):
        padded = [np.where(mask[:, None], x, np.float32(padding)) for x in arrays]
        out, *gradients = both_ways(passed, *padded, mask, cotangent)
        return out, *(gradient[:7] for gradient in gradients)

    for small, large in zip(run(0.0), run(30.0), strict=True):
        np.testing.assert_allclose(small, large, rtol=1e-5, atol=1e-6)


def test_the_order_in_a_bin_does_not_matter():
    (embedding, values), mask, _ = make_bin(12, 4, 3, 7)
    jitted = jax.jit(passed)
    order = np.random.default_rng(1).permutation(12)

    np.testing.assert_allclose(
        jitted(embedding[order], values[order], mask[order]),
        np.asarray(jitted(embedding, values, mask))[order],
        rtol=1e-5,
        atol=1e-6,
    )


def test_elements_in_one_place_pull_at_nothing():
    """Below the cut-off, the derivative is zero and a division by the distance is invalid."""
    values = jax.random.normal(jax.random.key(0), (6, 3))
    mask = jnp.ones(6, bool)

    def total(embedding):
        return jnp.sum(passed(embedding, values, mask) ** 2)

    assert not np.any(jax.jit(jax.grad(total))(jnp.ones((6, 4))))


def test_a_degree_is_cut_at_a_thousand():
    size = 1100
    mask, values = jnp.ones(size, bool), jnp.ones((size, 1))

    out = jax.jit(passed)(jnp.ones((size, 2)), values, mask)

    np.testing.assert_allclose(out, size / (1000 + 1e-6), rtol=2e-3)


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
