"""Message passing inside LSH bins, with a gradient written by hand.

There is one value for every pair of a bin, 8 million per event and layer, so the number of passes
over them determines the speed. The derivative of the squared distance is symmetric in the two
elements, so its gradient needs one product, where autodiff would use two.
"""

import functools

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float

from mlpf_jax import config as config_lib
from mlpf_jax.model import precision as precision_lib
from mlpf_jax.model.parts import Part

EPSILON = 1e-6  # keeps square roots away from zero; same value as the reference
MAX_DEGREE = 1000.0
# Distances up to here have zero derivative, because the reference clips them: sqrt(EPSILON), with a
# margin for rounding.
_SLOPELESS_DISTANCE = 1.002e-3


@Part.ADJACENCY.mark
def pair_adjacency(
    embedding: Float[Array, "*batch size dim"], scale: float, precision: config_lib.Precision
) -> Float[Array, "*batch size size"]:
    """Returns exp(-scale * distance) for every pair, including each element with itself.

    The squared distance is computed as n_i - 2 x_i x_j + n_j, as in the reference, which loses
    precision for close pairs. The reference's clip to [0, 1] is omitted, because the exponential of
    a negative number is always in this range.

    Source: NodePairGaussianKernel and pairwise_l2_dist in the reference's tfmodel/model.py.
    """
    x = precision_lib.round_operand(embedding, precision)
    square = jnp.sum(x * x, axis=-1)
    product = precision_lib.matmul(x, x.mT, precision)
    square_distance = square[..., :, None] - 2 * product + square[..., None, :]
    return jnp.exp(-scale * jnp.sqrt(jnp.maximum(square_distance, EPSILON)))


@functools.partial(jax.custom_vjp, nondiff_argnums=(3, 4))
def pass_messages(
    embedding: Float[Array, "*batch size dim"],
    values: Float[Array, "*batch size width"],
    mask: Bool[Array, "*batch size"],
    scale: float,
    precision: config_lib.Precision,
) -> Float[Array, "*batch size width"]:
    """Returns norm * A (norm * values), where A is the adjacency of the bin.

    norm is 1 / sqrt(degree), where the degree is the sum of A over the real elements. norm and the
    result are 0 at padding. `embedding` and `values` must be finite at padding; their values there
    have no effect.

    Source: GHConvDense in the reference's tfmodel/model.py, with normalize_degrees.
    """
    return _forward(embedding, values, mask, scale, precision)[0]


@Part.MESSAGES.mark
def _forward(embedding, values, mask, scale, precision):
    adjacency = pair_adjacency(embedding, scale, precision)
    real = mask[..., None].astype(adjacency.dtype)
    degree = jnp.matmul(adjacency, real, precision=lax.Precision.HIGHEST)
    norm = jnp.where(mask[..., None], lax.rsqrt(jnp.minimum(degree, MAX_DEGREE) + EPSILON), 0)
    passed = norm * precision_lib.matmul(adjacency, norm * values, precision)
    return passed, (embedding, values, mask, adjacency, degree, norm, passed)


@Part.MESSAGES.mark
def _backward(scale, precision, kept, cotangent):
    """With u = norm v, z = A u and y = norm z, the cotangent Y of y gives the adjacency's cotangent
    Z_i u_j + D_i real_j, where Z = norm Y and D is the cotangent of the degree. A is symmetric, so
    the contributions of (i, j) and (j, i) are added.
    """
    embedding, values, mask, adjacency, degree, norm, passed = kept
    product = functools.partial(precision_lib.matmul, precision=precision)
    of_gathered = norm * cotangent
    of_normed = product(adjacency, of_gathered)

    of_norm = _row_sum(cotangent * passed + norm * of_normed * values)
    of_degree = jnp.where(degree < MAX_DEGREE, -0.5 * norm**2 * of_norm, 0)
    real = mask[..., None, :].astype(norm.dtype)
    of_adjacency = product(of_gathered, (norm * values).mT) + of_degree * real

    x = precision_lib.round_operand(embedding, precision)
    scaled_distance = -jnp.log(adjacency)
    has_slope = scaled_distance > scale * _SLOPELESS_DISTANCE
    slope = jnp.where(has_slope, adjacency / scaled_distance, 0)
    pull = scale**2 * slope * (of_adjacency + of_adjacency.mT)
    return product(pull, x) - _row_sum(pull) * x, norm * of_normed, None


def _row_sum(x):
    return precision_lib.row_sums(x, jnp.ones(x.shape[-1], x.dtype))


pass_messages.defvjp(_forward, _backward)
