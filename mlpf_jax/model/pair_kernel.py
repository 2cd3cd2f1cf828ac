"""Fused kernels for message passing inside bins. The matrix of pairs is never written to memory.

Each program of a kernel handles some rows of a bin's matrix and loops over its columns, tile by
tile. The backward pass recomputes every tile. The same kernel bodies are used for Triton (GPU) and
Mosaic (TPU), with tile sizes for each. **Tested in interpret mode and by compiling; never run on a
GPU or a TPU.**
"""

import dataclasses
import functools

import jax
import jax.numpy as jnp
from jax import lax
from jax.experimental import pallas as pl
from jaxtyping import Array, Bool, Float

from mlpf_jax import config as config_lib
from mlpf_jax.model import message_passing, pair_tiles
from mlpf_jax.model import precision as precision_lib
from mlpf_jax.model.parts import Part

_EPSILON, _MAX_DEGREE = message_passing.EPSILON, message_passing.MAX_DEGREE
_MAX_WIDTH = 256  # features for which the sums fit a program's registers


@Part.MESSAGES.mark
def pass_messages(
    embedding: Float[Array, "*batch size dim"],
    values: Float[Array, "*batch size width"],
    real: Bool[Array, "*batch size"],
    *,
    scale: float,
    precision: config_lib.Precision,
    target: config_lib.PairKernel,
) -> Float[Array, "*batch size width"]:
    """Returns norm * (A @ (norm * values)), A = exp(-scale * distance) for every pair of a bin.

    `norm` is 1 / sqrt(degree), where the degree is the sum of A over the real elements, and zero at
    padding. Embedding and values must be zero at padding, and so is the result. Sizes are padded to
    the tile sizes of the target.

    Raises:
        ValueError: if the kernels do not support the arrays, or the precision on a TPU.
    """
    (size, width), dim = values.shape[-2:], embedding.shape[-1]
    if values.dtype != jnp.float32 or max(width, dim) > _MAX_WIDTH:
        raise ValueError(
            f"the pair kernel supports float32 and up to {_MAX_WIDTH} features: got "
            f"{values.dtype}, {width} features and {dim} of the embedding. Set --pair_kernel=xla."
        )
    if target == "mosaic" and precision == "tf32":
        raise ValueError("--precision=tf32: a TPU has no TF32.")
    tiles = pair_tiles.choose(size, dim, width, target, precision)
    spec = _Spec(scale, precision, target, tiles)
    padded = (
        _pad(embedding, tiles.size, tiles.dim),
        _pad(values, tiles.size, tiles.width),
        jnp.pad(real.reshape(-1, 1, size), ((0, 0), (0, 0), (0, tiles.size - size))),
    )
    return _pass_messages(spec, *padded)[:, :size, :width].reshape(values.shape)


def _pad(x, size, dim):
    x = x.reshape(-1, *x.shape[-2:])
    return jnp.pad(x, ((0, 0), (0, size - x.shape[1]), (0, dim - x.shape[2])))


@dataclasses.dataclass(frozen=True)
class _Spec:
    """The parameters that the kernels are compiled for."""

    scale: float
    precision: config_lib.Precision
    target: config_lib.PairKernel
    tiles: pair_tiles.Tiles


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _pass_messages(spec, embedding, values, real):
    return _forward(spec, embedding, values, real)[0]


@Part.MESSAGES.mark
def _forward(spec, embedding, values, real):
    x = precision_lib.round_operand(embedding, spec.precision)
    degree = _call(spec, _degree_body, [x, real.astype(jnp.float32)], out_dim=None)
    norm = jnp.where(real, (jnp.minimum(degree, _MAX_DEGREE) + _EPSILON) ** -0.5, 0)
    out = _call(spec, _messages_body, [x, values, norm], out_dim=values.shape[-1])
    return out, (x, values, norm, degree, out)


@Part.MESSAGES.mark
def _backward(spec, residuals, cotangent):
    x, values, norm, degree, out = residuals
    # norm * A * norm is symmetric: its own transpose, up to rounding.
    d_values = _call(spec, _messages_body, [x, cotangent, norm], out_dim=values.shape[-1])
    # norm multiplies A from the left and from the right; this is the sum of both contributions,
    # times norm.
    both_sides = jnp.sum(cotangent * out + values * d_values, axis=-1)[:, None, :]
    d_degree = jnp.where(degree < _MAX_DEGREE, -0.5 * norm**2 * both_sides, 0)
    operands = [x, values, cotangent, norm, d_degree]
    return _call(spec, _embedding_gradient_body, operands, out_dim=x.shape[-1]), d_values, None


_pass_messages.defvjp(_forward, _backward)


def _call(spec, body, operands, *, out_dim):
    """Runs `body` on every bin and tile of rows, with the tile's rows and all rows of each operand.

    Operands are [bins, size, dim], or [bins, 1, size] for one value per element, as is the result
    if `out_dim` is None.
    """
    tiles = spec.tiles
    num_bins = operands[0].shape[0]

    def rows_of(dim):
        if dim is None:
            return pl.BlockSpec((None, 1, tiles.rows), lambda b, i: (b, 0, i))
        return pl.BlockSpec((None, tiles.rows, dim), lambda b, i: (b, i, 0))

    dims = [None if operand.shape[1] == 1 else operand.shape[2] for operand in operands]
    wholes = [pl.BlockSpec((None, *o.shape[1:]), lambda b, i: (b, 0, 0)) for o in operands]
    rest = (1, tiles.size) if out_dim is None else (tiles.size, out_dim)
    return pl.pallas_call(
        functools.partial(body, spec),
        grid=(num_bins, tiles.size // tiles.rows),
        in_specs=[*map(rows_of, dims), *wholes],
        out_specs=rows_of(out_dim),
        out_shape=jax.ShapeDtypeStruct((num_bins, *rest), jnp.float32),
        interpret=spec.target == "interpret",
        compiler_params=pair_tiles.compiler_params(spec.target, spec.precision),
        name=body.__name__.strip("_"),
    )(*operands, *operands)


def _fold(length, part, add, zero):
    """Folds `add(slice, sum)` over the parts of an axis in order."""
    if part == length:
        return add(pl.ds(0, length), zero)

    def step(i, total):
        return add(pl.ds(pl.multiple_of(i * part, part), part), total)

    return lax.fori_loop(0, length // part, step, zero)


def _over_columns(tiles, add, zero):
    return _fold(tiles.size, tiles.columns, add, zero)


def _degree_body(spec, x_rows, _real_rows, x_all, real_all, out):
    def add(columns, total):
        adjacency = _adjacency(spec, x_rows[...], x_all[columns, :])[0]
        return total + jnp.sum(adjacency * real_all[:, columns], axis=-1, keepdims=True)

    out[...] = _over_columns(spec.tiles, add, jnp.zeros((spec.tiles.rows, 1), jnp.float32)).T


def _messages_body(spec, x_rows, _v_rows, norm_rows, x_all, v_all, norm_all, out):
    def add(columns, total):
        adjacency = _adjacency(spec, x_rows[...], x_all[columns, :])[0]
        return total + _product(spec, adjacency, v_all[columns, :] * norm_all[:, columns].T)

    out[...] = norm_rows[...].T * _over_columns(spec.tiles, add, jnp.zeros(out.shape, jnp.float32))


def _embedding_gradient_body(spec, *refs):
    """With E the gradient of the squared distances plus its transpose, row i of the result is
    2 sum_j E_ij (x_i - x_j).
    """
    x_rows, v_rows, g_rows, norm_rows, d_degree_rows = refs[:5]
    x_all, v_all, g_all, norm_all, d_degree_all, out = refs[5:]
    x, norm, d_degree = x_rows[...], norm_rows[...].T, d_degree_rows[...].T

    def add(columns, total):
        norm_other, d_degree_other = norm_all[:, columns], d_degree_all[:, columns]
        x_other = x_all[columns, :]
        adjacency, square_distance = _adjacency(spec, x, x_other)

        def add_products(chunk, gradient):
            for left, right in ((g_rows, v_all), (v_rows, g_all)):
                other = right[columns, chunk] * norm_other.T
                gradient += _product(spec, left[:, chunk] * norm, other, transpose=True)
            return gradient

        # The norm of a real element is never zero, so it marks the elements that count in a degree.
        gradient = jnp.where(norm_other > 0, d_degree, 0) + jnp.where(norm > 0, d_degree_other, 0)
        gradient = _fold(spec.tiles.width, spec.tiles.chunk, add_products, gradient)
        distance = jnp.sqrt(jnp.maximum(square_distance, _EPSILON))
        slope = jnp.where(square_distance > _EPSILON, -0.5 * spec.scale / distance, 0)
        # Rounded before both sums, so that the common part of x_i and x_j cancels.
        e = pair_tiles.round_operand(gradient * adjacency * slope, spec.precision)
        row_sum, weighted = total
        return row_sum + jnp.sum(e, axis=-1, keepdims=True), weighted + _product(spec, e, x_other)

    zero = jnp.zeros((spec.tiles.rows, 1), jnp.float32), jnp.zeros(out.shape, jnp.float32)
    row_sum, weighted = _over_columns(spec.tiles, add, zero)
    out[...] = 2 * (x * row_sum - weighted)


def _adjacency(spec, x, x_other):
    """Returns the adjacency and the squared distances of two tiles of elements."""
    square = jnp.sum(x * x, axis=-1, keepdims=True)
    square_other = jnp.sum(x_other * x_other, axis=-1, keepdims=True).T
    square_distance = square - 2 * _product(spec, x, x_other, transpose=True) + square_other
    distance = jnp.sqrt(jnp.maximum(square_distance, _EPSILON))
    return jnp.exp(-spec.scale * distance), square_distance


def _product(spec, left, right, *, transpose=False):
    precision = spec.precision
    if spec.target == "interpret" and precision == "tf32":  # not available on a CPU
        left, right = (pair_tiles.round_operand(x, precision) for x in (left, right))
        precision = "float32"
    return pair_tiles.product(left, right, precision, transpose=transpose)
