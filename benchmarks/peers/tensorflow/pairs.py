"""Message passing inside the bins, with a gradient of its own that computes the pairs again.

With `walks`, bins are computed one after the other, with size x size arrays that fit a CPU's cache;
otherwise all bins are one batch.
"""

from collections.abc import Callable, Sequence
from typing import Any

import tensorflow as tf  # pyrefly: ignore[missing-import]

_EPSILON = 1e-6  # the reference's, under both roots
Tensor = Any


def pass_messages(
    embedding: Tensor,
    values: Tensor,
    real: Tensor,
    order: Tensor,
    *,
    bin_size: int,
    scale: float,
    walks: bool,
) -> Tensor:
    """Returns norm * A (norm * values) with A = exp(-scale * distance) in each bin.

    `embedding` [rows, dim], `values` [rows, width], `real` [rows, 1] as 0 or 1; a bin is
    `bin_size` consecutive entries of `order` [rows]. norm is the root of the inverse degree, 0 at
    padding.

    Source: NodePairGaussianKernel and GHConvDense in the reference's tfmodel/model.py.
    """
    inverse = tf.math.invert_permutation(order)

    def to_bins(x: Tensor) -> Tensor:
        return tf.reshape(tf.gather(x, order), (-1, bin_size, x.shape[-1]))

    def from_bins(x: Tensor) -> Tensor:
        return tf.gather(tf.reshape(x, (-1, x.shape[-1])), inverse)

    def run(function: Callable, arrays: Sequence[Tensor], num_results: int) -> Any:
        if not walks:
            return function(arrays)
        kinds = (embedding.dtype,) * num_results
        return tf.map_fn(function, arrays, fn_output_signature=kinds, parallel_iterations=1)

    @tf.custom_gradient
    def passed_on(embedding: Tensor, values: Tensor) -> tuple[Tensor, Callable]:
        x, v, is_real = to_bins(embedding), to_bins(values), to_bins(real)

        def forward(arrays: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
            x, v, is_real = arrays
            adjacency, _ = _adjacency(x, scale)
            norm = tf.math.rsqrt(tf.matmul(adjacency, is_real) + _EPSILON) * is_real
            return tf.matmul(adjacency, v * norm) * norm, norm

        y, norm = run(forward, (x, v, is_real), 2)

        def gradient(of_y: Tensor) -> tuple[Tensor, Tensor]:
            def backward(arrays: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
                return _backward(*arrays, scale=scale)

            of_x, of_v = run(backward, (to_bins(of_y), x, v, is_real, y, norm), 2)
            return from_bins(of_x), from_bins(of_v)

        return from_bins(y), gradient

    return passed_on(embedding, values)


def _adjacency(x: Tensor, scale: float) -> tuple[Tensor, Tensor]:
    """Returns A, and where the squared distance n_i - 2 x_i x_j + n_j is not cut off, 1 / distance.

    Elsewhere the second is 0.
    """
    norm = tf.reduce_sum(tf.square(x), axis=-1, keepdims=True)
    square = norm - 2 * tf.matmul(x, x, transpose_b=True) + tf.linalg.matrix_transpose(norm)
    distance = tf.sqrt(tf.maximum(square, _EPSILON))
    inverse = tf.where(square > _EPSILON, 1 / distance, 0)
    return tf.exp(-scale * distance), inverse


def _backward(
    of_y: Tensor, x: Tensor, v: Tensor, is_real: Tensor, y: Tensor, norm: Tensor, *, scale: float
) -> tuple[Tensor, Tensor]:
    """Returns the gradients of x and v in bins, from that of y = norm * A (norm * v).

    With Z = norm of_y, that of A is Z_i (norm v)_j + D_i real_j, where D is the degree's, with
    dnorm/ddegree = -norm^3 / 2. A is symmetric.
    """
    adjacency, inverse = _adjacency(x, scale)
    of_gathered = of_y * norm
    of_normed = tf.matmul(adjacency, of_gathered)
    of_norm = tf.reduce_sum(of_y * y, -1, keepdims=True)  # times norm
    of_norm += norm * tf.reduce_sum(of_normed * v, -1, keepdims=True)
    of_degree = -0.5 * tf.square(norm) * of_norm
    left = tf.concat([of_gathered, of_degree], axis=-1)
    right = tf.concat([v * norm, is_real], axis=-1)
    of_adjacency = tf.matmul(left, right, transpose_b=True)
    of_square = of_adjacency * (adjacency * inverse)
    both = tf.reduce_sum(of_square, -1) + tf.reduce_sum(of_square, -2)
    pulled = tf.matmul(of_square, x) + tf.matmul(of_square, x, transpose_a=True)
    return -scale * (both[..., None] * x - pulled), of_normed * norm
