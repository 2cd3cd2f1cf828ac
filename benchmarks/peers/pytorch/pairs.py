"""Message passing inside the bins: an operator that walks them one by one, forward and backward.

The size x size arrays of one bin fit a CPU's cache; those of all bins would go through memory once
per operation. What the backward pass needs of them is computed again. torch.compile takes the
operator as it is; with `fused` the operator takes its elementwise parts from torch.compile.
"""

import functools
import math
from collections.abc import Callable
from typing import Any

import torch  # pyrefly: ignore[missing-import]

_EPSILON = 1e-6  # the reference's, under both roots
LARGEST_BIN = 1000  # the reference clips degrees there, and no degree exceeds the bin's size


@torch.library.custom_op("mlpf::pass_messages", mutates_args=())
def pass_messages(
    embedding: torch.Tensor,
    values: torch.Tensor,
    real: torch.Tensor,
    order: torch.Tensor,
    bin_size: int,
    scale: float,
    fused: bool,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Returns norm * A (norm * values) with A = exp(-scale * distance) in each bin, and norm.

    `embedding` [rows, dim], `values` [rows, width], `real` [rows, 1] as 0 or 1; a bin is
    `bin_size` consecutive entries of `order` [rows]. norm [rows, 1] is the root of the inverse
    degree, 0 at padding.

    Source: NodePairGaussianKernel and GHConvDense in the reference's tfmodel/model.py.
    """
    adjacency_of = _program(_adjacency, fused)
    passed, norm = torch.empty_like(values), torch.empty_like(real)
    product = embedding.new_empty(bin_size, bin_size)
    for rows in order.split(bin_size):
        x, is_real = embedding[rows], real[rows]
        torch.mm(x, x.t(), out=product)
        adjacency = adjacency_of(product, x.square().sum(1), scale)
        norm_in_bin = (adjacency @ is_real).add_(_EPSILON).rsqrt_().mul_(is_real)
        gathered = (adjacency @ values[rows].mul_(norm_in_bin)).mul_(norm_in_bin)
        passed.index_copy_(0, rows, gathered)
        norm.index_copy_(0, rows, norm_in_bin)
    return passed, norm


@torch.library.custom_op("mlpf::pass_messages_backward", mutates_args=())
def _backward(
    gradient: torch.Tensor,
    embedding: torch.Tensor,
    values: torch.Tensor,
    real: torch.Tensor,
    order: torch.Tensor,
    passed: torch.Tensor,
    norm: torch.Tensor,
    bin_size: int,
    scale: float,
    fused: bool,
    wants_values: bool,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Returns the gradients of embedding and values; of the latter nothing if nobody wants it.

    With z = A u, u = norm v, y = norm z and the cotangent Y of y, the adjacency's own is
    Z_i u_j + D_i real_j, where Z = norm Y, U = A Z and D is the degree's, with
    dnorm/ddegree = -norm^3 / 2. A is symmetric, and so is what is made of it here.
    """
    adjacency_and_slope = _program(_adjacency_and_slope, fused)
    of_embedding = torch.empty_like(embedding)
    of_values = torch.empty_like(values) if wants_values else values.new_empty(0)
    product, of_pairs = (embedding.new_empty(bin_size, bin_size) for _ in range(2))
    for rows in order.split(bin_size):
        x, y, norm_in_bin = embedding[rows], gradient[rows], norm[rows]
        torch.mm(x, x.t(), out=product)
        adjacency, slope = adjacency_and_slope(product, x.square().sum(1), scale)
        of_gathered = y * norm_in_bin
        of_normed = adjacency @ of_gathered
        v = values[rows]
        of_degree = (y * passed[rows]).sum(1, keepdim=True)
        of_degree.addcmul_(norm_in_bin, (of_normed * v).sum(1, keepdim=True))
        of_degree.mul_(norm_in_bin.square()).mul_(-0.5)
        left = torch.cat([of_gathered, of_degree], 1)
        right = torch.cat([v.mul_(norm_in_bin), real[rows]], 1)
        torch.mm(left, right.t(), out=of_pairs)
        of_square = of_pairs.mul_(slope)
        both = of_square.sum(1).add_(of_square.sum(0))
        pulled = torch.addmm(of_square @ x, of_square.t(), x)
        of_embedding.index_copy_(0, rows, torch.addcmul(-pulled, both[:, None], x).mul_(2))
        if wants_values:
            of_values.index_copy_(0, rows, of_normed.mul_(norm_in_bin))
    return of_embedding, of_values


def _square_distance(product: torch.Tensor, square: torch.Tensor) -> torch.Tensor:
    """The reference's n_i - 2 x_i x_j + n_j, in the place of the products."""
    return product.mul_(-2).add_(square[:, None]).add_(square)


def _adjacency(product: torch.Tensor, square: torch.Tensor, scale: float) -> torch.Tensor:
    """Returns exp(-scale * distance), in the place of the products."""
    distance = _square_distance(product, square).clamp_min_(_EPSILON).sqrt_()
    return distance.mul_(-scale).exp_()


def _adjacency_and_slope(
    product: torch.Tensor, square: torch.Tensor, scale: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """Returns the adjacency and its derivative by the squared distance, 0 where that is cut off."""
    distance = _square_distance(product, square)
    adjacency = distance.clamp_min(_EPSILON).sqrt_().mul_(-scale).exp_()
    inverse = torch.nn.functional.threshold(distance, _EPSILON, math.inf).rsqrt_()
    return adjacency, inverse.mul_(-scale / 2).mul_(adjacency)


@functools.cache
def _program(function: Callable[..., Any], fused: bool) -> Callable[..., Any]:
    return torch.compile(function, dynamic=False) if fused else function


@pass_messages.register_fake
def _(embedding, values, real, order, bin_size, scale, fused):
    return torch.empty_like(values), torch.empty_like(real)


@_backward.register_fake
def _(
    gradient,
    embedding,
    values,
    real,
    order,
    passed,
    norm,
    bin_size,
    scale,
    fused,
    wants_values,
):
    return torch.empty_like(embedding), values.new_empty(values.shape if wants_values else 0)


def _keep(ctx: Any, inputs: tuple[Any, ...], output: tuple[torch.Tensor, torch.Tensor]) -> None:
    embedding, values, real, order, ctx.bin_size, ctx.scale, ctx.fused = inputs
    ctx.save_for_backward(embedding, values, real, order, *output)
    ctx.set_materialize_grads(False)


def _differentiate(ctx: Any, gradient: torch.Tensor, _: None) -> tuple[torch.Tensor | None, ...]:
    wants_values = ctx.needs_input_grad[1]
    of_embedding, of_values = _backward(
        gradient.contiguous(), *ctx.saved_tensors, ctx.bin_size, ctx.scale, ctx.fused, wants_values
    )
    return of_embedding, of_values if wants_values else None, None, None, None, None, None


pass_messages.register_autograd(_differentiate, setup_context=_keep)
