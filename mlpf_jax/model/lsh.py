"""Locality-sensitive hashing: sorts similar elements into the same bin.

Message passing then costs num_elements * bin_size pairs instead of num_elements squared.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from mlpf_jax.model.parts import Part

_LARGEST_KEY = 2**31 - 1


class Ragged(NamedTuple):
    """The event of each row, for a list of several events of different lengths.

    An event fills whole bins of rows. Compared with full padding, bins without an element are
    missing.
    """

    event: Int[Array, "*batch elements"]  # ascending; `num_events` in rows without an event
    num_events: int
    num_bins: int  # bins of a fully padded event, the range of the hash


@Part.BINNING.mark
def hash_elements(
    embedding: Float[Array, "*batch elements dim"],
    mask: Bool[Array, "*batch elements"],
    rotations: Float[Array, "dim half_max_bins"],
    num_bins: int,
) -> Int[Array, "*batch elements"]:
    """Returns each element's hash: the rotated axis, of either sign, that it points along most.

    `num_bins - 1` is added to the hash of padding, so at most it shares the last bucket's number.

    Source: split_indices_to_bins_batch in the reference's tfmodel/model.py.
    """
    # The hash decides which elements share a bin, so it uses at least the embedding's precision.
    projection = jnp.matmul(
        embedding, rotations[:, : num_bins // 2], precision=jax.lax.Precision.HIGHEST
    )
    axis = jnp.argmax(jnp.concatenate([projection, -projection], axis=-1), axis=-1)
    return axis + jnp.where(mask, 0, num_bins - 1)


@Part.BINNING.mark
def sort_by_hash(
    hashes: Int[Array, "*batch elements"],
) -> tuple[Int[Array, "*batch elements"], Int[Array, "*batch elements"]]:
    """Returns (order, inverse): the stable ascending sort, and each element's position in it.

    Bins are equal parts of this order, so an element near a boundary may be in the next bin.
    """
    num_elements = hashes.shape[-1]
    position = jnp.broadcast_to(jnp.arange(num_elements, dtype=jnp.int32), hashes.shape)
    # Hash and position form one unique integer key, so sorting the keys is a stable sort.
    order = jnp.sort(hashes.astype(jnp.int32) * num_elements + position, axis=-1) % num_elements
    inverse = jnp.argsort(order, axis=-1).astype(jnp.int32)
    return order, inverse


@Part.BINNING.mark
def sort_in_events(
    hashes: Int[Array, "*batch elements"], ragged: Ragged
) -> tuple[Int[Array, "*batch elements"], Int[Array, "*batch elements"]]:
    """Returns (order, inverse) as `sort_by_hash` does, each event sorted within its own rows."""
    num_hashes = 2 * ragged.num_bins  # hashes per event, see `hash_elements`
    by_event = hashes.astype(jnp.int32) + num_hashes * ragged.event
    num_elements = hashes.shape[-1]
    if num_hashes * (ragged.num_events + 1) * num_elements <= _LARGEST_KEY:
        return sort_by_hash(by_event)
    # Too many rows for a 32-bit integer key: sort by two keys, which is slower.
    position = jnp.broadcast_to(jnp.arange(num_elements, dtype=jnp.int32), hashes.shape)
    _, order = jax.lax.sort((by_event, position), num_keys=1, is_stable=True)
    return order, jnp.argsort(order, axis=-1).astype(jnp.int32)


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


@Part.GATHER.mark
def _gather(x, order):
    return jnp.take_along_axis(x, order[..., None], axis=-2, mode="promise_in_bounds")


def _permute_forward(x, order, inverse):
    return _gather(x, order), inverse


def _permute_backward(inverse, cotangent):
    return _gather(cotangent, inverse), None, None


permute.defvjp(_permute_forward, _permute_backward)
