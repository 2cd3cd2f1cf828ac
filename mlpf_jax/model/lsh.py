"""Locality-sensitive hashing: puts elements that look alike into the same bin.

Message passing then costs num_elements * bin_size pairs instead of num_elements squared.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int


def hash_elements(
    embedding: Float[Array, "*batch elements dim"],
    mask: Bool[Array, "*batch elements"],
    rotations: Float[Array, "dim half_max_bins"],
    num_bins: int,
) -> Int[Array, "*batch elements"]:
    """Returns each element's hash: the rotated axis, of either sign, that it points along most.

    Padding is moved behind by `num_bins - 1`, so it shares the last bucket's number at most.

    Source: split_indices_to_bins_batch in the reference's tfmodel/model.py.
    """
    # The hash decides who meets whom: it is never computed in less than the embedding's precision.
    projection = jnp.matmul(
        embedding, rotations[:, : num_bins // 2], precision=jax.lax.Precision.HIGHEST
    )
    axis = jnp.argmax(jnp.concatenate([projection, -projection], axis=-1), axis=-1)
    return axis + jnp.where(mask, 0, num_bins - 1)


def sort_by_hash(
    hashes: Int[Array, "*batch elements"],
) -> tuple[Int[Array, "*batch elements"], Int[Array, "*batch elements"]]:
    """Returns (order, inverse): the stable ascending sort, and each element's place in it.

    Bins are equal cuts of this order, so an element near a cut may land in the next bin.
    """
    num_elements = hashes.shape[-1]
    position = jnp.broadcast_to(jnp.arange(num_elements, dtype=jnp.int32), hashes.shape)
    # Hash and position in one integer: the keys differ, so sorting them is the stable sort.
    order = jnp.sort(hashes.astype(jnp.int32) * num_elements + position, axis=-1) % num_elements
    inverse = jnp.argsort(order, axis=-1).astype(jnp.int32)
    return order, inverse


@jax.custom_vjp
def permute(
    x: Float[Array, "*batch elements dim"],
    order: Int[Array, "*batch elements"],
    inverse: Int[Array, "*batch elements"],
) -> Float[Array, "*batch elements dim"]:
    """Returns x[order] for each event; exchanging `order` and `inverse` undoes it.

    The gradient is the inverse gather. Autodiff would scatter, which is slower and, on a GPU,
    adds in an order that changes from run to run.
    """
    del inverse
    return _gather(x, order)


def _gather(x, order):
    return jnp.take_along_axis(x, order[..., None], axis=-2, mode="promise_in_bounds")


def _permute_forward(x, order, inverse):
    return _gather(x, order), inverse


def _permute_backward(inverse, cotangent):
    return _gather(cotangent, inverse), None, None


permute.defvjp(_permute_forward, _permute_backward)
