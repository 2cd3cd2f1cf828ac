"""Measured peak rates of this machine: matrix products, and copies."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.step import sampling
from mlpf_jax import config as config_lib
from mlpf_jax.model import precision as precision_lib


@dataclasses.dataclass(frozen=True)
class Roofs:
    """Peak rates of one device, each the best of several samples."""

    flops_per_s: float
    bytes_per_s: float  # read and written, both counted
    matrix_size: int
    copied_bytes: int


def measure(
    precision: config_lib.Precision, *, matrix_size: int = 3072, copied_bytes: int = 2**28
) -> Roofs:
    """Measures a square matrix product at a precision, and a copy larger than any cache.

    The product takes operands of its own type, so that no conversion is timed. They are random:
    a GPU needs less power for equal numbers, and clocks higher.
    """
    dtype = jnp.bfloat16 if precision == "bf16" else jnp.float32
    numbers = np.random.default_rng(0).standard_normal((matrix_size, matrix_size), np.float32)
    matrix = jnp.asarray(numbers, dtype)
    product = jax.jit(lambda x, y: precision_lib.matmul(x, y, precision))
    product_s = min(sampling.sample_calls(product, (matrix, matrix)).seconds)
    data = jnp.ones(copied_bytes // 4, jnp.float32)
    copy_s = min(sampling.sample_calls(jax.jit(jnp.negative), (data,)).seconds)
    return Roofs(
        flops_per_s=2 * matrix_size**3 / product_s,
        bytes_per_s=2 * data.nbytes / copy_s,
        matrix_size=matrix_size,
        copied_bytes=data.nbytes,
    )
