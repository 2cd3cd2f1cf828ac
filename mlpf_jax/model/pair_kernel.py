"""A fused kernel for message passing inside bins on a TPU. The matrix of pairs is never written to
memory.

Each program of the kernel has 128 rows of a bin's matrix, and all its columns. The backward pass
computes the matrix again. **Tested in interpret mode and by compiling; never run on a TPU.**
"""

import dataclasses
import functools

import jax
import jax.numpy as jnp
from jax import lax
from jax.experimental import pallas as pl
from jaxtyping import Array, Bool, Float

from mlpf_jax import config as config_lib
from mlpf_jax.model import message_passing
from mlpf_jax.model import precision as precision_lib
from mlpf_jax.model.parts import Part

_EPSILON, _MAX_DEGREE = message_passing.EPSILON, message_passing.MAX_DEGREE
_LANES = 128  # of a TPU's vector register: sizes are padded to multiples of it
_MAX_WIDTH = 256  # features for which the rows of a program fit a core's memory


@Part.MESSAGES.mark
def pass_messages(
    embedding: Float[Array, "*batch size dim"],
    values: Float[Array, "*batch size width"],
    real: Bool[Array, "*batch size"],
    *,
    scale: float,
    precision: config_lib.Precision,
    is_interpreted: bool = False,
) -> Float[Array, "*batch size width"]:
    """Returns norm * (A @ (norm * values)), A = exp(-scale * distance) for every pair of a bin.

    `norm` is 1 / sqrt(degree), where the degree is the sum of A over the real elements, and zero at
    padding. Embedding and values must be zero at padding, and so is the result. Sizes are padded to
    multiples of 128.

    Raises:
        ValueError: if the kernel does not support the arrays or the precision.
    """
    (size, width), dim = values.shape[-2:], embedding.shape[-1]
    if values.dtype != jnp.float32 or max(width, dim) > _MAX_WIDTH:
        raise ValueError(
            f"the pair kernel supports float32 and up to {_MAX_WIDTH} features: got "
            f"{values.dtype}, {width} features and {dim} of the embedding. Set --pair_kernel=xla."
        )
    if precision == "tf32":
        raise ValueError("--precision=tf32: the pair kernel is for TPUs, which have no TF32.")
    padded = (_pad(embedding), _pad(values), _pad_last(real.reshape(-1, 1, size)))
    spec = _Spec(scale, precision, is_interpreted)
    return _pass_messages(spec, *padded)[:, :size, :width].reshape(values.shape)


def _pad(x):
    x = x.reshape(-1, *x.shape[-2:])
    return _pad_last(jnp.pad(x, ((0, 0), (0, -x.shape[1] % _LANES), (0, 0))))


def _pad_last(x):
    return jnp.pad(x, ((0, 0), (0, 0), (0, -x.shape[2] % _LANES)))


@dataclasses.dataclass(frozen=True)
class _Spec:
    """The parameters that the kernels are compiled for."""

    scale: float
    precision: config_lib.Precision
    is_interpreted: bool


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
    """Runs `body` on every bin and 128 of its rows, with these and all rows of each operand.

    Operands are [bins, size, dim], or [bins, 1, size] for one value per element, as is the result
    if `out_dim` is None.
    """
    num_bins, size = operands[0].shape[:2]

    def rows_of(dim):
        if dim is None:
            return pl.BlockSpec((None, 1, _LANES), lambda b, i: (b, 0, i))
        return pl.BlockSpec((None, _LANES, dim), lambda b, i: (b, i, 0))

    dims = [None if operand.shape[1] == 1 else operand.shape[2] for operand in operands]
    wholes = [pl.BlockSpec((None, *o.shape[1:]), lambda b, i: (b, 0, 0)) for o in operands]
    rest = (1, size) if out_dim is None else (size, out_dim)
    return pl.pallas_call(
        functools.partial(body, spec),
        grid=(num_bins, size // _LANES),
        in_specs=[*map(rows_of, dims), *wholes],
        out_specs=rows_of(out_dim),
        out_shape=jax.ShapeDtypeStruct((num_bins, *rest), jnp.float32),
        interpret=spec.is_interpreted,
        name=body.__name__.strip("_"),
    )(*operands, *operands)


def _degree_body(spec, x_rows, _real_rows, x_all, real_all, out):
    adjacency = _adjacency(spec, x_rows[...], x_all[...])[0]
    out[...] = jnp.sum(adjacency * real_all[...], axis=-1, keepdims=True).T


def _messages_body(spec, x_rows, _v_rows, norm_rows, x_all, v_all, norm_all, out):
    adjacency = _adjacency(spec, x_rows[...], x_all[...])[0]
    out[...] = norm_rows[...].T * _product(spec, adjacency, v_all[...] * norm_all[...].T)


def _embedding_gradient_body(spec, *refs):
    """With E the gradient of the squared distances plus its transpose, row i of the result is
    2 sum_j E_ij (x_i - x_j).
    """
    x_rows, v_rows, g_rows, norm_rows, d_degree_rows = refs[:5]
    x_all, v_all, g_all, norm_all, d_degree_all, out = refs[5:]
    x, norm, x_other, norm_other = x_rows[...], norm_rows[...].T, x_all[...], norm_all[...]
    adjacency, square_distance = _adjacency(spec, x, x_other)
    # The norm of a real element is never zero, so it marks the elements that count in a degree.
    gradient = jnp.where(norm_other > 0, d_degree_rows[...].T, 0)
    gradient += jnp.where(norm > 0, d_degree_all[...], 0)
    for left, right in ((g_rows, v_all), (v_rows, g_all)):
        gradient += _product(spec, left[...] * norm, right[...] * norm_other.T, transpose=True)
    distance = jnp.sqrt(jnp.maximum(square_distance, _EPSILON))
    slope = jnp.where(square_distance > _EPSILON, -0.5 * spec.scale / distance, 0)
    # Rounded before both sums, so that the common part of x_i and x_j cancels.
    e = _round_operand(spec, gradient * adjacency * slope)
    out[...] = 2 * (x * jnp.sum(e, axis=-1, keepdims=True) - _product(spec, e, x_other))


def _adjacency(spec, x, x_other):
    """Returns the adjacency and the squared distances of some rows and all."""
    square = jnp.sum(x * x, axis=-1, keepdims=True)
    square_other = jnp.sum(x_other * x_other, axis=-1, keepdims=True).T
    square_distance = square - 2 * _product(spec, x, x_other, transpose=True) + square_other
    distance = jnp.sqrt(jnp.maximum(square_distance, _EPSILON))
    return jnp.exp(-spec.scale * distance), square_distance


def _product(spec, left, right, *, transpose=False):
    """Returns left @ right, or left @ right.T, accumulated in float32: `precision.matmul` for use
    inside a kernel, where neither its gradient nor batches are supported.
    """
    dimensions = (((1,), (1 if transpose else 0,)), ((), ()))
    precision = lax.Precision.HIGHEST
    if spec.precision == "bf16":
        left, right, precision = left.astype(jnp.bfloat16), right.astype(jnp.bfloat16), None
    return lax.dot_general(left, right, dimensions, precision, preferred_element_type=jnp.float32)


def _round_operand(spec, x):
    """`precision.round_operand` for use inside a kernel: Mosaic has no reduce_precision. XLA, which
    interprets, has it, and leaves out the two conversions.
    """
    if spec.is_interpreted:
        return precision_lib.round_operand(x, spec.precision)
    return x.astype(jnp.bfloat16).astype(jnp.float32) if spec.precision == "bf16" else x
