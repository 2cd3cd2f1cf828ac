"""What the pair kernels are cut into for a GPU or a TPU, and products of such tiles."""

import dataclasses
from typing import Any

import jax.numpy as jnp
from jax import lax
from jax.experimental.pallas import triton
from jaxtyping import Array, Float

from mlpf_jax import config as config_lib

_SMALLEST = 16  # Triton multiplies no narrower tiles
_LANES = 128  # of a TPU's vector register


@dataclasses.dataclass(frozen=True)
class Tiles:
    """Padded sizes of a bin, and the shape of a tile of its matrix."""

    size: int  # elements of a bin
    dim: int  # of the embedding
    width: int  # features of a value
    rows: int  # of a tile; one program has as many
    columns: int  # of a tile
    chunk: int  # features multiplied at once in the backward pass


def choose(
    size: int, dim: int, width: int, target: config_lib.PairKernel, precision: config_lib.Precision
) -> Tiles:
    """Returns the tiles for bins of `size` elements.

    Triton knows powers of two alone: 640 elements are ten times 64. Its tiles are the largest that
    XLA's ahead-of-time compiler for an H200 keeps in registers, nearly: without tensor cores, a
    float32 product takes more of them. A TPU core's memory holds the whole matrix of a bin, and
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
    """Returns what the back end is told; none of it has been tuned on a device."""
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
    """Returns left @ right, or left @ right.T, accumulated in float32: `precision.matmul` inside
    a kernel, whose compilers know neither its gradient nor a batch.
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
    """Rounds to what `product` keeps of an operand: `precision.round_operand` inside a kernel,
    where Triton knows no reduce_precision.
    """
    if precision == "bf16":
        return x.astype(jnp.bfloat16).astype(jnp.float32)
    if precision == "tf32":
        # Half of the last kept bit, then cut: the 10 of 23 mantissa bits that TF32 keeps.
        bits = lax.bitcast_convert_type(x, jnp.int32) + 0x1000
        return lax.bitcast_convert_type(bits & ~0x1FFF, jnp.float32)
    return x
