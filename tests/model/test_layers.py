"""The layers against their formulas, written as loops in float64 from the paper."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mlpf_jax.model import layers, precision

SIZE, DIM, FEATURES = 7, 4, 6


@pytest.fixture(params=[DIM, 9], ids=["narrow input", "wide input"])
def inputs(request):
    """One bin with two padded places, and the layer's parameters."""
    x_key, pair_key, init_key = jax.random.split(jax.random.key(0), 3)
    mask = jnp.arange(SIZE) < SIZE - 2
    x = jnp.where(mask[:, None], jax.random.normal(x_key, (SIZE, request.param)), 0)
    embedding = jax.random.normal(pair_key, (SIZE, DIM))
    adjacency = layers.pair_adjacency(embedding, 0.1, "float32")
    params = layers.GHConv(FEATURES, "float32").init(init_key, x, adjacency, mask)
    return params, x, adjacency, mask


def ghconv_by_loops(params, x, adjacency, mask):
    """GHConv for one bin, one element at a time."""
    p = jax.tree.map(lambda w: np.asarray(w, np.float64), params["params"])
    x, adjacency = np.asarray(x, np.float64), np.asarray(adjacency, np.float64)
    real = np.flatnonzero(mask)
    norm = {i: (sum(adjacency[i, j] for j in real) + 1e-6) ** -0.5 for i in real}
    out = np.zeros((len(x), p["theta"].shape[1]))
    for i in real:
        near = sum(norm[i] * adjacency[i, j] * norm[j] * (x[j] @ p["theta"]) for j in real)
        gate = 1 / (1 + np.exp(-(x[i] @ p["W_t"] + p["b_t"])))
        blend = gate * near + (1 - gate) * (x[i] @ p["W_h"])
        out[i] = np.where(blend > 0, blend, np.expm1(blend))
    return out


def test_ghconv_equals_the_formula(inputs):
    np.testing.assert_allclose(
        layers.GHConv(FEATURES, "float32").apply(*inputs),
        ghconv_by_loops(*inputs),
        rtol=1e-5,
        atol=1e-6,
    )


def test_ghconv_does_not_depend_on_the_order_in_a_bin(inputs):
    params, x, adjacency, mask = inputs
    order = jax.random.permutation(jax.random.key(1), SIZE)
    conv = layers.GHConv(FEATURES, "float32")

    shuffled = conv.apply(params, x[order], adjacency[order][:, order], mask[order])

    np.testing.assert_allclose(
        shuffled, conv.apply(params, x, adjacency, mask)[order], rtol=1e-5, atol=1e-6
    )


def test_a_degree_is_cut_at_a_thousand(inputs):
    params, x, adjacency, mask = inputs
    conv = layers.GHConv(FEATURES, "float32")

    at_limit = conv.apply(params, x, adjacency * 0 + 1e6, mask)
    norm = (1000 + 1e-6) ** -0.5
    hand = 1e6 * norm**2 * jnp.sum(jnp.where(mask[:, None], x, 0), 0) @ params["params"]["theta"]
    gate = jax.nn.sigmoid(x @ params["params"]["W_t"] + params["params"]["b_t"][None])
    expected = jax.nn.elu(gate * hand[None] + (1 - gate) * (x @ params["params"]["W_h"]))

    np.testing.assert_allclose(at_limit[:5], expected[:5], rtol=1e-4)


def test_adjacency_equals_exp_of_minus_the_scaled_distance():
    x = jax.random.normal(jax.random.key(2), (SIZE, DIM))
    distance = np.linalg.norm(np.asarray(x)[:, None] - np.asarray(x)[None], axis=-1)

    adjacency = layers.pair_adjacency(x, 0.1, "float32")

    expected = np.exp(-0.1 * np.maximum(distance, 1e-3))
    np.testing.assert_allclose(adjacency, expected, atol=2e-4)


@pytest.mark.parametrize("kind", ["float32", "bf16"])
def test_adjacency_of_an_element_with_itself_survives_the_precision(kind):
    """Large embeddings: rounding only the product would leave a distance of several units."""
    x = 40 * jax.random.normal(jax.random.key(3), (64, 128))

    diagonal = jnp.diagonal(layers.pair_adjacency(x, 0.1, kind))

    np.testing.assert_allclose(diagonal, 1.0, atol=0.06)


def test_dense_of_parts_is_dense_of_their_concatenation():
    a, b = (jax.random.normal(jax.random.key(i), (5, 3)) for i in range(2))
    dense = layers.Dense(4, "float32")
    params = dense.init(jax.random.key(2), a, b, a)

    whole = jnp.concatenate([a, b, a], axis=-1) @ params["params"]["kernel"]

    np.testing.assert_allclose(dense.apply(params, a, b, a), whole, rtol=1e-5, atol=1e-6)


def test_dense_multiplies_a_doubled_part_once():
    a, b = (jnp.ones((5, 3)) for _ in range(2))
    dense = layers.Dense(4, "float32")
    params = dense.init(jax.random.key(2), a, b, a)

    text = jax.jit(dense.apply).lower(params, a, b, a).as_text()
    doubled = jax.jit(lambda p, a, b: dense.apply(p, a, b, a)).lower(params, a, b).as_text()

    assert text.count("dot_general") == 3
    assert doubled.count("dot_general") == 2


@pytest.mark.parametrize("shapes", [((5, 3), (3, 4)), ((2, 5, 3), (3, 4)), ((2, 5, 3), (2, 3, 4))])
def test_bf16_products_round_operands_only_forward_and_backward(shapes):
    x, y = (jax.random.normal(jax.random.key(i), shape) for i, shape in enumerate(shapes))

    def rounded(v):
        return v.astype(jnp.bfloat16).astype(jnp.float32)

    out, vjp = jax.vjp(lambda x, y: precision.matmul(x, y, "bf16"), x, y)
    cotangent = jax.random.normal(jax.random.key(9), out.shape)
    expected, expected_vjp = jax.vjp(jnp.matmul, rounded(x), rounded(y))

    np.testing.assert_allclose(out, expected, rtol=1e-5, atol=1e-5)
    for ours, theirs in zip(vjp(cotangent), expected_vjp(rounded(cotangent)), strict=True):
        assert ours.dtype == jnp.float32
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-5)


def test_float32_products_ask_for_true_float32_both_ways():
    x, y = jnp.ones((5, 3)), jnp.ones((3, 4))

    def loss(x, y):
        return jnp.sum(precision.matmul(x, y, "float32"))

    text = jax.jit(jax.grad(loss, argnums=(0, 1))).lower(x, y).as_text()

    dots = [line for line in text.splitlines() if "dot_general" in line]
    assert dots
    assert all("HIGHEST, HIGHEST" in line for line in dots)
