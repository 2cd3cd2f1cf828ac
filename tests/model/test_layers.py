"""The layers against their formulas, written as loops in float64 from the paper."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mlpf_jax import config as config_lib
from mlpf_jax.model import layers, lsh, precision

CONFIG = config_lib.ModelConfig(
    bin_size=8, embedding_dim=4, embedding_hidden_dim=5, hidden_dim=6, decoder_dim=8
)
NUM_ELEMENTS = 32
graph_layer = jax.jit(functools.partial(layers.graph_layer, config=CONFIG))


@pytest.fixture(scope="module", params=[4, 9], ids=["narrow input", "wide input"])
def inputs(request):
    """A layer of random weights, biases included, and two events with padding among the elements.

    Drawn by NumPy: the layer's own initialisers take seconds to compile.
    """
    rng = np.random.default_rng(0)
    mask = rng.random((2, NUM_ELEMENTS)) < 0.8
    x = np.where(mask[..., None], rng.normal(size=(*mask.shape, request.param)), 0)
    key = jax.random.key(0)
    init = layers.GraphLayerWeights(CONFIG, request.param).init_with_output
    abstract, _ = jax.eval_shape(init, {"params": key, "rotations": key})
    layer = jax.tree.map(lambda w: jnp.asarray(0.5 * rng.normal(size=w.shape), w.dtype), abstract)
    return layer, jnp.asarray(x.reshape(-1, request.param), jnp.float32), jnp.asarray(mask)


def elu(x):
    return np.where(x > 0, x, np.expm1(x))


def layer_by_loops(layer, x, mask, inner):
    """A graph layer in the bins that it chose itself, one element at a time."""
    layer = jax.tree.map(lambda w: np.asarray(w, np.float64), layer)
    (hidden, embed), messages = layer.embed, layer.messages
    x = x.reshape(*mask.shape, -1)
    out = np.zeros((*mask.shape, CONFIG.hidden_dim))
    for event, bins in enumerate(np.asarray(inner["bins"])):
        for elements in bins:
            real = [i for i in elements if mask[event, i]]
            at = {i: np.asarray(x[event, i], np.float64) for i in real}
            place = {
                i: elu(v @ hidden.kernel + hidden.bias) @ embed.kernel + embed.bias
                for i, v in at.items()
            }
            near = {
                (i, j): np.exp(-0.1 * max(np.linalg.norm(place[i] - place[j]), 1e-3))
                for i in real
                for j in real
            }
            norm = {i: (sum(near[i, j] for j in real) + 1e-6) ** -0.5 for i in real}
            for i in real:
                said = sum(norm[i] * near[i, j] * norm[j] * (at[j] @ messages.theta) for j in real)
                gate = 1 / (1 + np.exp(-(at[i] @ messages.weight_gate + messages.bias_gate)))
                out[event, i] = elu(gate * said + (1 - gate) * (at[i] @ messages.weight_self))
    return out.reshape(-1, CONFIG.hidden_dim)


def test_a_graph_layer_equals_the_formula(inputs):
    encoding, inner = graph_layer(*inputs)

    np.testing.assert_allclose(encoding, layer_by_loops(*inputs, inner), rtol=2e-3, atol=2e-3)


def test_the_bins_are_cuts_of_the_order_of_the_hashes(inputs):
    _, inner = graph_layer(*inputs)

    order, _ = lsh.sort_by_hash(inner["hash"])

    np.testing.assert_array_equal(inner["bins"].reshape(2, NUM_ELEMENTS), order)


def test_layer_norm_has_the_value_and_the_gradient_of_its_formula():
    rng = np.random.default_rng(1)
    x, cotangent = jnp.asarray(rng.normal(3.0, 5.0, size=(2, 7, 19)), jnp.float32)
    scale, bias = jnp.asarray(rng.normal(size=(2, 19)), jnp.float32)

    def formula(x, scale, bias):
        centred = x - jnp.mean(x, axis=-1, keepdims=True)
        variance = jnp.mean(centred**2, axis=-1, keepdims=True)
        return centred / jnp.sqrt(variance + 1e-3) * scale[None] + bias[None]

    value, pull_back = jax.vjp(lambda *a: layers.layer_norm(*a, 1e-3), x, scale, bias)
    expected, expected_pull_back = jax.vjp(formula, x, scale, bias)

    np.testing.assert_allclose(value, expected, rtol=1e-5, atol=1e-5)
    for ours, theirs in zip(pull_back(cotangent), expected_pull_back(cotangent), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-5)


def test_products_with_all_kernels_are_those_with_each():
    x = jax.random.normal(jax.random.key(0), (5, 3))
    kernels = [jax.random.normal(jax.random.key(i), (3, width)) for i, width in enumerate((2, 4))]

    products = layers.product_with_all(x, kernels, "float32")

    for product, kernel in zip(products, kernels, strict=True):
        np.testing.assert_allclose(product, x @ kernel, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("shapes", [((5, 3), (3, 4)), ((2, 5, 3), (2, 3, 4))])
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


def test_elu_has_its_value_and_slope_everywhere():
    x = jnp.array([-1e4, -90.0, -3.0, -1e-9, 0.0, 1e-9, 2.5, 1e4], jnp.float32)

    value, pull_back = jax.vjp(layers._elu, x)

    negative = np.asarray(x) < 0
    exponential = np.exp(np.where(negative, x, 0).astype(np.float64))
    np.testing.assert_allclose(value, np.where(negative, exponential - 1, x), atol=1.2e-7)
    np.testing.assert_allclose(pull_back(jnp.full_like(x, 2.0))[0], 2 * exponential, atol=2.4e-7)
