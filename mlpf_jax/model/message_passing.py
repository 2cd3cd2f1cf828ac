"""Message passing inside LSH bins, with a gradient written by hand.

Every pair of a bin is a number here, 8 million for an event and layer, so the passes over them
decide the speed. The derivative of the squared distance is symmetric in its two elements: one
product brings it back to the embedding, where autodiff would take two.
"""

import functools

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float

from mlpf_jax import config as config_lib
from mlpf_jax.model import precision as precision_lib
from mlpf_jax.model.parts import Part

EPSILON = 1e-6  # keeps roots away from zero; the reference's value, part of its numbers
MAX_DEGREE = 1000.0
# Distances up to here have no slope, for the reference cuts them off: sqrt(EPSILON), with room
# for its rounding.
_SLOPELESS_DISTANCE = 1.002e-3


@Part.ADJACENCY.mark
def pair_adjacency(
    embedding: Float[Array, "*batch size dim"], scale: float, precision: config_lib.Precision
) -> Float[Array, "*batch size size"]:
    """Returns exp(-scale * distance) for every pair, an element with itself included.

    The squared distance is taken as n_i - 2 x_i x_j + n_j, which cancels badly for close pairs;
    so does the reference. Its clip to [0, 1] is left out: no exp of a negative number needs it.

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

    norm is the root of the inverse degree, the sum of A over the real elements, and 0 at padding:
    so is the result. `embedding` and `values` must be finite at padding; what they are there has
    no effect.

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
    """With u = norm v, z = A u and y = norm z, the cotangent Y of y makes the adjacency's own
    Z_i u_j + D_i real_j, where Z = norm Y and D is the degree's. A is symmetric, so what pulls i
    to j pulls j to i.
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
