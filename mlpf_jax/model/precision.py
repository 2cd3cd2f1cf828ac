"""Matrix products in the precision of a run, forward and backward.

`float32` means float32 products on every device: no TF32, no bfloat16 passes. XLA's default is TF32
on NVIDIA and bfloat16 on TPU, and its CPU back end accepts the bfloat16 dot algorithm but ignores
it. This module therefore never relies on a default.
"""

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from mlpf_jax import config as config_lib

_MANTISSA_BITS: dict[str, int] = {"tf32": 10, "bf16": 7}


def matmul(
    x: Float[Array, "*batch rows inner"],
    y: Float[Array, "*batch inner columns"],
    precision: config_lib.Precision,
) -> Float[Array, "*batch rows columns"]:
    """Returns x @ y, accumulated in float32 (float64 if the arguments are)."""
    if precision == "bf16":
        return _bf16_matmul(x, y)
    if precision == "tf32":
        return jnp.matmul(x, y, precision=lax.DotAlgorithmPreset.TF32_TF32_F32)
    return jnp.matmul(x, y, precision=lax.Precision.HIGHEST)


def row_sums(
    x: Float[Array, "*batch rows dim"], weights: Float[Array, " dim"]
) -> Float[Array, "*batch rows 1"]:
    """Returns the weighted sum of each row, computed as a product in full precision.

    On a CPU, a product takes one pass; for a sum, XLA stores the summand and reads it twice.
    """
    return jnp.matmul(x, weights[:, None], precision=lax.Precision.HIGHEST)


def round_operand(
    x: Float[Array, "*shape"], precision: config_lib.Precision
) -> Float[Array, "*shape"]:
    """Rounds to the precision of a product's operand.

    Sums of squares of the rounded values are consistent with their products: the squared distance
    n_i - 2 x_i x_j + n_j is then zero on the diagonal. Otherwise the rounding of the product would
    cause a large error of the adjacency.
    """
    if precision == "float32":
        return x
    return lax.reduce_precision(x, exponent_bits=8, mantissa_bits=_MANTISSA_BITS[precision])


@jax.custom_vjp
def _bf16_matmul(x, y):
    return _bf16_forward(x, y)[0]


def _bf16_forward(x, y):
    x, y = x.astype(jnp.bfloat16), y.astype(jnp.bfloat16)
    return jnp.matmul(x, y, preferred_element_type=jnp.float32), (x, y)


def _bf16_backward(operands, cotangent):
    # By default, autodiff would multiply in float32 and round the sums to bfloat16.
    x, y = operands
    cotangent = cotangent.astype(jnp.bfloat16)
    dx = jnp.matmul(cotangent, y.mT, preferred_element_type=jnp.float32)
    dy = jnp.matmul(x.mT, cotangent, preferred_element_type=jnp.float32)
    return dx, dy


_bf16_matmul.defvjp(_bf16_forward, _bf16_backward)
