"""Tile sizes of the pair kernels for a GPU or a TPU, and products of tiles."""

import dataclasses
from typing import Any

import jax.numpy as jnp
from jax import lax
from jax.experimental.pallas import triton
from jaxtyping import Array, Float

from mlpf_jax import config as config_lib

_SMALLEST = 16  # the narrowest tile that Triton can multiply
_LANES = 128  # lanes of a TPU's vector register


@dataclasses.dataclass(frozen=True)
class Tiles:
    """The padded sizes of a bin, and the shape of the tiles of its matrix."""

    size: int  # elements of a bin
    dim: int  # of the embedding
    width: int  # features of a value
    rows: int  # rows columns of a tile, and of a program
    columns: int  # of a tile
    chunk: int  # features multiplied at once in the backward pass


def choose(
    size: int, dim: int, width: int, target: config_lib.PairKernel, precision: config_lib.Precision
) -> Tiles:
    """Returns the tiles for bins of `size` elements.

    Triton supports only powers of two: 640 elements are ten tiles of 64. Its tiles are the largest
    that XLA's ahead-of-time compiler for an H200 almost keeps in registers; without tensor cores, a
    float32 product needs more of them. A TPU core's memory can hold the whole matrix of a bin, and
    its registers are 128 wide.
    """
    if target == "mosaic":
        size, dim, width = (-(-n // _LANES) * _LANES for n in (size, dim, width))
        return Tiles(size, dim, width, rows=_LANES, columns=size, chunk=width)
    rows, columns, chunk = (32, 16, 32) if precision == "float32" else (64, 32, 32)
    rows = min(rows, _power_of_two(size))
    size = -(-size // rows) * rows
    dim, width = _power_of_two(dim), _power_of_two(width)
    return Tiles(size, dim, width, rows, min(columns, rows), min(chunk, width))


def _power_of_two(n: int) -> int:
    return max(_SMALLEST, 1 << (n - 1).bit_length())


def compiler_params(target: config_lib.PairKernel, precision: config_lib.Precision) -> Any:
    """Returns the compiler parameters of the back end; none were tuned on a device."""
    if target != "triton":
        return None
    return triton.CompilerParams(num_warps=8, num_stages=1 if precision == "float32" else 2)


def product(
    left: Float[Array, "rows inner"],
    right: Float[Array, "_ _"],
    precision: config_lib.Precision,
    *,
    transpose: bool = False,
) -> Float[Array, "rows columns"]:
    """Returns left @ right, or left @ right.T, accumulated in float32: `precision.matmul` for use
    inside a kernel, where neither its gradient nor batches are supported.
    """
    dimensions = (((1,), (1 if transpose else 0,)), ((), ()))
    if precision == "bf16":
        left, right = left.astype(jnp.bfloat16), right.astype(jnp.bfloat16)
        return lax.dot_general(left, right, dimensions, preferred_element_type=jnp.float32)
    kinds = {"float32": lax.Precision.HIGHEST, "tf32": lax.DotAlgorithmPreset.TF32_TF32_F32}
    return lax.dot_general(
        left, right, dimensions, kinds[precision], preferred_element_type=jnp.float32
    )


def round_operand(
    x: Float[Array, "rows columns"], precision: config_lib.Precision
) -> Float[Array, "rows columns"]:
    """Rounds to the operand precision of `product`: `precision.round_operand` for use inside a
    kernel, since Triton has no reduce_precision.
    """
    if precision == "bf16":
        return x.astype(jnp.bfloat16).astype(jnp.float32)
    if precision == "tf32":
        # Adds half of the last kept bit and truncates: TF32 keeps 10 of 23 mantissa bits.
        bits = lax.bitcast_convert_type(x, jnp.int32) + 0x1000
        return lax.bitcast_convert_type(bits & ~0x1FFF, jnp.float32)
    return x
