"""The fused kernel, interpreted, against the formula in float64 NumPy: values and gradients."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.aot import targets
from mlpf_jax.model import pair_kernel
from mlpf_jax.verify import golden, parity

SCALE = 0.1
# What a kernel may differ by, as the norm of the difference over the norm. In float32 nearly all of
# it is the diagonal, whose squared distance cancels to a rounding error.
VALUES = {"float32": 2e-4, "bf16": 6e-3}
GRADIENTS = {"float32": 4e-4, "bf16": 1e-2}


def rounded(x, precision):
    """Keeps as many bits of the mantissa as the precision, to nearest, ties to even."""
    if precision == "float32":
        return x
    mantissa, exponent = np.frexp(np.asarray(x, np.float64))
    return np.ldexp(np.round(mantissa * 2.0**8) / 2.0**8, exponent)


def formula(x, values, real):
    """One bin, in float64: the result, and what its gradient is made of."""
    square = np.sum(x * x, axis=-1)
    square_distance = square[:, None] - 2 * x @ x.T + square[None, :]
    distance = np.sqrt(np.maximum(square_distance, 1e-6))
    adjacency = np.exp(-SCALE * distance)
    degree = adjacency @ real
    norm = np.where(real, (np.minimum(degree, 1000) + 1e-6) ** -0.5, 0)
    out = norm[:, None] * (adjacency @ (norm[:, None] * values))
    return out, (square_distance, distance, adjacency, degree, norm)


def formula_gradient(x, values, real, cotangent):
    """By the chain rule, matrix by matrix: of the embedding, of the values."""
    _, (square_distance, distance, adjacency, degree, norm) = formula(x, values, real)
    sent = norm[:, None] * values
    d_received = norm[:, None] * cotangent
    d_sent = adjacency.T @ d_received
    d_norm = np.sum(cotangent * (adjacency @ sent), axis=-1) + np.sum(values * d_sent, axis=-1)
    d_degree = np.where(degree < 1000, -0.5 * norm**3 * d_norm, 0)
    d_adjacency = d_received @ sent.T + np.outer(d_degree, real)
    d_distance = -SCALE * adjacency * d_adjacency
    d_square = np.where(square_distance > 1e-6, d_distance / (2 * distance), 0)
    both = d_square + d_square.T
    return 2 * (np.sum(both, axis=-1)[:, None] * x - both @ x), norm[:, None] * d_sent


def draw(rng, sizes, dim, width, num_real):
    """A bin's arrays, float32, zero at padding; the embeddings spread like those of a network."""
    real = np.arange(sizes) < np.asarray(num_real)[..., None]
    shape = (*real.shape[:-1], sizes)
    embedding = (3 * rng.normal(size=(*shape, dim))).astype(np.float32) * real[..., None]
    values = rng.normal(size=(*shape, width)).astype(np.float32) * real[..., None]
    cotangent = rng.normal(size=(*shape, width)).astype(np.float32)
    return embedding, values, real, cotangent


# Interpreted kernels take seconds to compile, and are run once.
QUICKLY = {"xla_backend_optimization_level": 0, "xla_llvm_disable_expensive_passes": True}


@functools.partial(jax.jit, static_argnames="precision", compiler_options=QUICKLY)
def with_gradient(embedding, values, real, cotangent, *, precision):
    def run(embedding, values):
        return pair_kernel.pass_messages(
            embedding, values, real, scale=SCALE, precision=precision, is_interpreted=True
        )

    out, vjp = jax.vjp(run, embedding, values)
    return out, *vjp(cotangent)


def assert_close(ours, expected, tolerance):
    scale = np.linalg.norm(expected)
    assert np.linalg.norm(np.asarray(ours, np.float64) - expected) <= tolerance * scale + 1e-9


def assert_equals_formula(embedding, values, real, cotangent, precision):
    ours = with_gradient(embedding, values, real, cotangent, precision=precision)
    for result in ours:
        assert not np.any(np.asarray(result)[~real])
    for i in range(len(real)):
        arrays = [np.asarray(a[i], np.float64) for a in (embedding, values, cotangent)]
        x, v, g = rounded(arrays[0], precision), *arrays[1:]
        assert_close(ours[0][i], formula(x, v, real[i])[0], VALUES[precision])
        expected = formula_gradient(x, v, real[i], g)
        for gradient, theirs in zip((ours[1][i], ours[2][i]), expected, strict=True):
            assert_close(gradient, theirs, GRADIENTS[precision])


def test_the_formulas_gradient_is_that_of_finite_differences():
    rng = np.random.default_rng(0)
    x, values, real, g = (np.asarray(a, np.float64) for a in draw(rng, 6, 3, 4, 5))
    real = real.astype(bool)
    gradients = formula_gradient(x, values, real, g)

    for array, gradient in zip((x, values), gradients, strict=True):
        step = 1e-6 * rng.normal(size=array.shape) * real[:, None]
        ends = []
        for sign in (1, -1):
            array += sign * step
            ends.append(np.sum(g * formula(x, values, real)[0]))
            array -= sign * step
        np.testing.assert_allclose(ends[0] - ends[1], 2 * np.sum(gradient * step), rtol=1e-6)


@pytest.mark.parametrize("precision", ["float32", "bf16"])
def test_values_and_gradients_are_those_of_the_formula(precision):
    """Two programs a bin: one that is full, one with padding, one that is all padding."""
    arrays = draw(np.random.default_rng(1), 150, 12, 14, [150, 90, 0])

    assert_equals_formula(*arrays, precision)


@settings(max_examples=2, derandomize=True)
@given(st.integers(1, 80), st.integers(1, 20), st.integers(1, 40), st.data())
def test_any_size_is_padded(size, dim, width, data):
    num_real = data.draw(st.integers(0, size))
    arrays = draw(np.random.default_rng(size), size, dim, width, [num_real])

    assert_equals_formula(*arrays, "bf16")


def test_nan_in_the_padding_that_the_caller_silences_goes_nowhere():
    embedding, values, real, cotangent = draw(np.random.default_rng(2), 40, 8, 8, [25, 0])

    @functools.partial(jax.jit, compiler_options=QUICKLY)
    def run(embedding, values, real):
        def silenced(embedding, values):
            x, v = (jnp.where(real[..., None], a, 0) for a in (embedding, values))
            out = pair_kernel.pass_messages(
                x, v, real, scale=SCALE, precision="bf16", is_interpreted=True
            )
            return jnp.where(real[..., None], out, jnp.nan)

        out, vjp = jax.vjp(silenced, embedding, values)
        return out, *vjp(jnp.where(real[..., None], cotangent, jnp.nan))

    poisoned = [np.where(real[..., None], a, np.nan) for a in (embedding, values)]
    results = [np.where(real[..., None], result, 0) for result in run(*poisoned, real)]

    for result, clean in zip(results, run(embedding, values, real), strict=True):
        np.testing.assert_array_equal(result, np.where(real[..., None], clean, 0))
        assert np.all(np.isfinite(result))


def test_a_degree_is_cut_at_a_thousand():
    """As many elements in one place: the degree is 1100, its gradient ends at the limit."""
    rng = np.random.default_rng(4)
    embedding = np.tile(rng.normal(size=(1, 1, 4)).astype(np.float32), (1, 1100, 1))
    embedding[0, :50] += rng.normal(size=(50, 4)).astype(np.float32)
    values, cotangent = (rng.normal(size=(1, 1100, 4)).astype(np.float32) for _ in range(2))
    real = np.ones((1, 1100), bool)

    out, _, d_values = with_gradient(embedding, values, real, cotangent, precision="bf16")

    x, v, g = (np.asarray(a[0], np.float64) for a in (embedding, values, cotangent))
    x = rounded(x, "bf16")
    assert_close(out[0], formula(x, v, real[0])[0], VALUES["bf16"])
    assert_close(d_values[0], formula_gradient(x, v, real[0], g)[1], GRADIENTS["bf16"])


@pytest.mark.parametrize(
    ("shape", "dtype", "precision", "message"),
    [
        ((16, 300), np.float32, "bf16", "up to 256 features"),
        ((16, 8), np.float16, "bf16", "supports float32"),
        ((16, 8), np.float32, "tf32", "--precision=tf32: the pair kernel is for TPUs"),
    ],
)
def test_what_the_kernel_does_not_support_is_refused(shape, dtype, precision, message):
    x = jax.ShapeDtypeStruct(shape, dtype)
    real = jax.ShapeDtypeStruct(shape[:1], bool)
    run = functools.partial(pair_kernel.pass_messages, scale=SCALE, precision=precision)

    with pytest.raises(ValueError, match=message):
        jax.eval_shape(run, x, x, real)


@pytest.mark.parametrize("precision", ["float32", "bf16"])
def test_it_lowers_without_a_matrix_of_pairs(precision):
    """Published sizes; vmap as over the chains of the encoder. Nothing is compiled or run."""
    bins, batch = (2, 10), (2, 2, 10)
    arrays = [jax.ShapeDtypeStruct((*batch, 640, n), jnp.float32) for n in (128, 256, 256)]
    real = jax.ShapeDtypeStruct((*bins, 640), bool)
    mesh = jax.sharding.AbstractMesh((), (), abstract_device=targets.ABSENT["tpu"])

    def gradient(embedding, values, cotangent, real):
        run = functools.partial(pair_kernel.pass_messages, scale=SCALE, precision=precision)
        return jax.vjp(lambda *a: run(*a, real), embedding, values)[1](cotangent)

    mapped = jax.jit(jax.vmap(gradient, in_axes=(0, 0, 0, None)))
    with jax.sharding.use_abstract_mesh(mesh):
        text = mapped.trace(*arrays, real).lower(lowering_platforms=("tpu",)).as_text()

    assert text.count("custom_call @tpu_custom_call") == 4  # degree, messages twice, gradient
    assert "640x640" not in text


@pytest.mark.slow
def test_the_network_with_the_kernel_agrees_with_the_original_graph(monkeypatch):
    """All of mlpf-jax-verify: outputs, losses, gradients, three updates."""
    case = golden.load(golden.SMALL_CASE)
    with_kernel = dataclasses.replace(case.model_config, pair_kernel="interpret")
    monkeypatch.setattr(golden.GoldenCase, "model_config", with_kernel)

    verdict = parity.verify(case)

    assert verdict.holds, [check for check in verdict.checks if not check.holds]
