"""Message passing inside the bins: an operator that loops over them, forward and backward.

The size x size arrays of one bin fit a CPU's cache; those of all bins would go through memory once
per operation. Only the adjacency is stored for the backward pass. torch.compile uses the operator
unchanged; with `fused`, the elementwise parts of the operator are compiled by torch.compile. For a
GPU, where every operation of every bin would be a launch, all bins are computed at once.
"""

import functools
import math
from collections.abc import Callable
from typing import Any

import torch  # pyrefly: ignore[missing-import]

_EPSILON = 1e-6  # the reference's, under both roots
_CUT_OFF = 1.002 * math.sqrt(_EPSILON)  # distances up to here have no slope, with room for rounding


def pass_messages(
    embedding: torch.Tensor,
    values: torch.Tensor,
    real: torch.Tensor,
    order: torch.Tensor,
    *,
    bin_size: int,
    scale: float,
    fused: bool,
    batched: bool,
) -> torch.Tensor:
    """Returns norm * A (norm * values) with A = exp(-scale * distance) in each bin.

    `embedding` [rows, dim], `values` [rows, width], `real` [rows, 1] as 0 or 1; a bin is
    `bin_size` consecutive entries of `order` [rows]. norm is the root of the inverse degree, 0 at
    padding.

    Source: NodePairGaussianKernel and GHConvDense in the reference's tfmodel/model.py.
    """
    if batched:
        return _all_at_once(embedding, values, real, order, bin_size, scale)
    keeps = torch.is_grad_enabled()
    return _forward(embedding, values, real, order, bin_size, scale, fused, keeps)[0]


def _all_at_once(
    embedding: torch.Tensor,
    values: torch.Tensor,
    real: torch.Tensor,
    order: torch.Tensor,
    bin_size: int,
    scale: float,
) -> torch.Tensor:
    """The same for all bins in one product each, for a GPU; PyTorch differentiates it."""
    # The gradient of `a[order]` would sort the indices, because they might repeat.
    x, v, is_real = (
        a.index_select(0, order).view(-1, bin_size, a.shape[1]) for a in (embedding, values, real)
    )
    square = x.float().square().sum(2, keepdim=True)
    square_distance = square - 2 * (x @ x.mT).float() + square.mT
    adjacency = (-scale * square_distance.clamp_min(_EPSILON).sqrt()).exp()
    # The degree as the rows' sums: a product would round the adjacency to bfloat16.
    degree = (adjacency * is_real.mT).sum(2, keepdim=True)
    norm = (degree + _EPSILON).rsqrt() * is_real
    passed = ((adjacency @ (norm * v)) * norm).flatten(0, 1).to(values.dtype)
    return torch.empty_like(values).index_copy(0, order, passed)


@torch.library.custom_op("mlpf::pass_messages", mutates_args=())
def _forward(
    embedding: torch.Tensor,
    values: torch.Tensor,
    real: torch.Tensor,
    order: torch.Tensor,
    bin_size: int,
    scale: float,
    fused: bool,
    keeps: bool,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Returns the messages, norm [rows, 1] and, if needed later, A [bins, size, size]."""
    adjacency_of = _program(_adjacency, fused)
    passed, norm = torch.empty_like(values), torch.empty_like(real)
    bins = order.split(bin_size)
    products = embedding.new_empty(len(bins) if keeps else 1, bin_size, bin_size)
    for number, rows in enumerate(bins):
        x, is_real = embedding[rows], real[rows]
        product = products[number if keeps else 0]
        torch.mm(x, x.t(), out=product)
        adjacency_of(product, x.square().sum(1), scale)
        norm_in_bin = (product @ is_real).add_(_EPSILON).rsqrt_().mul_(is_real)
        gathered = (product @ values[rows].mul_(norm_in_bin)).mul_(norm_in_bin)
        passed.index_copy_(0, rows, gathered)
        norm.index_copy_(0, rows, norm_in_bin)
    return passed, norm, products if keeps else embedding.new_empty(0)


@torch.library.custom_op("mlpf::pass_messages_backward", mutates_args=())
def _backward(
    gradient: torch.Tensor,
    embedding: torch.Tensor,
    values: torch.Tensor,
    real: torch.Tensor,
    order: torch.Tensor,
    passed: torch.Tensor,
    norm: torch.Tensor,
    adjacencies: torch.Tensor,
    scale: float,
    fused: bool,
    wants_values: bool,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Returns the gradients of embedding and values; the latter only if needed.

    With z = A u, u = norm v, y = norm z and the cotangent Y of y, the adjacency's own is
    Z_i u_j + D_i real_j, where Z = norm Y, U = A Z and D is the degree's, with
    dnorm/ddegree = -norm^3 / 2. A is symmetric, so what pulls i to j pulls j to i.
    """
    pull_of = _program(_pull, fused)
    of_embedding = torch.empty_like(embedding)
    of_values = torch.empty_like(values) if wants_values else values.new_empty(0)
    for adjacency, rows in zip(adjacencies, order.split(adjacencies.shape[1]), strict=True):
        x, y, norm_in_bin, v = embedding[rows], gradient[rows], norm[rows], values[rows]
        of_gathered = y * norm_in_bin
        of_normed = adjacency @ of_gathered
        of_degree = (y * passed[rows]).sum(1, keepdim=True)
        of_degree.addcmul_(norm_in_bin, (of_normed * v).sum(1, keepdim=True))
        of_degree.mul_(norm_in_bin.square()).mul_(-0.5)
        left = torch.cat([of_gathered, of_degree], 1)
        right = torch.cat([v.mul_(norm_in_bin), real[rows]], 1)
        pull = pull_of(left @ right.t(), adjacency, scale)
        pulled = torch.addcmul(pull @ x, pull.sum(1, keepdim=True), x, value=-1)
        of_embedding.index_copy_(0, rows, pulled.mul_(scale * scale))
        if wants_values:
            of_values.index_copy_(0, rows, of_normed.mul_(norm_in_bin))
    return of_embedding, of_values


def _adjacency(product: torch.Tensor, square: torch.Tensor, scale: float) -> None:
    """Overwrites the products with A, by the reference's n_i - 2 x_i x_j + n_j."""
    product.mul_(-2).add_(square[:, None]).add_(square)
    product.clamp_min_(_EPSILON).sqrt_().mul_(-scale).exp_()


def _pull(of_adjacency: torch.Tensor, adjacency: torch.Tensor, scale: float) -> torch.Tensor:
    """Returns the symmetric part of A's gradient, times A / (scale * distance) or 0.

    The distance is -log(A) / scale; 0 is where the reference cuts it off.
    """
    scaled_distance = torch.nn.functional.threshold(
        adjacency.log().neg_(), scale * _CUT_OFF, math.inf
    )
    return (of_adjacency + of_adjacency.t()).mul_(adjacency).div_(scaled_distance)


@functools.cache
def _program(function: Callable[..., Any], fused: bool) -> Callable[..., Any]:
    return torch.compile(function, dynamic=False) if fused else function


@_forward.register_fake
def _(embedding, values, real, order, bin_size, scale, fused, keeps):
    kept = (order.shape[0] // bin_size, bin_size, bin_size) if keeps else 0
    return torch.empty_like(values), torch.empty_like(real), embedding.new_empty(kept)


@_backward.register_fake
def _(
    gradient,
    embedding,
    values,
    real,
    order,
    passed,
    norm,
    adjacencies,
    scale,
    fused,
    wants_values,
):
    return torch.empty_like(embedding), values.new_empty(values.shape if wants_values else 0)


def _keep(ctx: Any, inputs: tuple[Any, ...], output: tuple[torch.Tensor, ...]) -> None:
    embedding, values, real, order, _, ctx.scale, ctx.fused, _ = inputs
    ctx.save_for_backward(embedding, values, real, order, *output)
    ctx.set_materialize_grads(False)


def _differentiate(ctx: Any, gradient: torch.Tensor, *_: None) -> tuple[torch.Tensor | None, ...]:
    wants_values = ctx.needs_input_grad[1]
    of_embedding, of_values = _backward(
        gradient.contiguous(), *ctx.saved_tensors, ctx.scale, ctx.fused, wants_values
    )
    rest = (None,) * 6
    return of_embedding, of_values if wants_values else None, *rest


_forward.register_autograd(_differentiate, setup_context=_keep)
