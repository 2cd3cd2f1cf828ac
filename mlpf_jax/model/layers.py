"""The layers of the network: Flax modules for the weights, and functions of arrays and a mask.

Weights that multiply the same input are merged into one product. Padding is masked with `where`,
because multiplying by a mask would propagate NaN, in the value or in the gradient.
"""

import functools
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float

from mlpf_jax import config as config_lib
from mlpf_jax.model import lsh, message_passing, pair_kernel
from mlpf_jax.model import precision as precision_lib

# keras' "random_normal", which is not truncated, unlike most normal initialisers.
random_normal = nn.initializers.normal(0.05)
glorot_uniform = nn.initializers.glorot_uniform()


def add_bias(
    x: Float[Array, "*batch dim"], bias: Float[Array, " dim"]
) -> Float[Array, "*batch dim"]:
    """Returns x + bias, with the bias broadcast explicitly."""
    return x + bias.reshape((1,) * (x.ndim - 1) + bias.shape)


def product_with_all(
    x: Float[Array, "*batch rows inner"],
    kernels: Sequence[Float[Array, "inner _"]],
    precision: config_lib.Precision,
) -> list[Float[Array, "*batch rows _"]]:
    """Returns x @ kernel for every kernel, computed as one wide product.

    The gradients are one product each, too. One wide product uses a machine better than several
    narrow ones.
    """
    widths = [kernel.shape[-1] for kernel in kernels]
    wide = precision_lib.matmul(x, jnp.concatenate(kernels, axis=-1), precision)
    return list(lax.split(wide, widths, axis=wide.ndim - 1))


class Affine(NamedTuple):
    """x -> x @ kernel + bias."""

    kernel: Float[Array, "*chains inner outer"]
    bias: Float[Array, "*chains outer"]

    def __call__(
        self, x: Float[Array, "*batch inner"], precision: config_lib.Precision
    ) -> Float[Array, "*batch outer"]:
        return add_bias(precision_lib.matmul(x, self.kernel, precision), self.bias)


class _AffineWeights(nn.Module):
    inner: int
    outer: int

    @nn.compact
    def __call__(self) -> Affine:
        kernel = self.param("kernel", glorot_uniform, (self.inner, self.outer))
        return Affine(kernel, self.param("bias", nn.initializers.zeros, (self.outer,)))


class FeedForwardWeights(nn.Module):
    """Affine layers from widths[0] inputs to widths[-1] outputs."""

    widths: Sequence[int]

    @nn.compact
    def __call__(self) -> tuple[Affine, ...]:
        pairs = zip(self.widths, self.widths[1:], strict=False)
        return tuple(
            _AffineWeights(inner, outer, name=f"dense_{i}")()
            for i, (inner, outer) in enumerate(pairs)
        )


@jax.custom_vjp
def _elu(x: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """Exponential linear unit as in the reference's framework: exp(x) - 1, not expm1.

    Both are accurate to the rounding of 1, but XLA computes expm1 with an extra polynomial. The
    derivative uses the result, as in the reference, so x is not stored and the exponential is not
    computed again.
    """
    positive = x > 0
    return jnp.where(positive, x, jnp.exp(jnp.where(positive, 0, x)) - 1)


def _elu_forward(x):
    y = _elu(x)
    return y, y


def _elu_backward(y, cotangent):
    return (jnp.where(y < 0, cotangent * (y + 1), cotangent),)


_elu.defvjp(_elu_forward, _elu_backward)


def feed_forward(
    hidden: Float[Array, "*batch _"],
    layers: Sequence[Affine],
    precision: config_lib.Precision,
) -> Float[Array, "*batch _"]:
    """Applies the layers after the first one, with elu before each; the last layer is linear."""
    for layer in layers:
        hidden = layer(_elu(hidden), precision)
    return hidden


class NormWeights(nn.Module):
    """Declares the scale and bias of `layer_norm` for `dim` features."""

    dim: int

    @nn.compact
    def __call__(self) -> tuple[Float[Array, " dim"], Float[Array, " dim"]]:
        scale = self.param("scale", nn.initializers.ones, (self.dim,))
        return scale, self.param("bias", nn.initializers.zeros, (self.dim,))


@functools.partial(jax.custom_vjp, nondiff_argnums=(3,))
def layer_norm(
    x: Float[Array, "rows dim"],
    scale: Float[Array, " dim"],
    bias: Float[Array, " dim"],
    epsilon: float,
) -> Float[Array, "rows dim"]:
    """Normalises each row to mean 0 and variance 1, then scales and shifts each feature.

    The gradient is written by hand: two sums and one pass per row.
    """
    return _layer_norm_forward(x, scale, bias, epsilon)[0]


def _layer_norm_forward(x, scale, bias, epsilon):
    mean_of = functools.partial(
        precision_lib.row_sums, weights=jnp.full_like(scale, 1 / scale.size)
    )
    centred = x - mean_of(x)
    inverse_deviation = lax.rsqrt(mean_of(centred * centred) + epsilon)
    unit = centred * inverse_deviation
    return add_bias(unit * scale[None], bias), (unit, inverse_deviation, scale)


def _layer_norm_backward(epsilon, kept, cotangent):
    del epsilon
    unit, inverse_deviation, scale = kept
    mean_scaled = functools.partial(precision_lib.row_sums, weights=scale / scale.size)
    along = cotangent * unit
    of_x = inverse_deviation * (
        cotangent * scale[None] - mean_scaled(cotangent) - unit * mean_scaled(along)
    )
    return of_x, jnp.sum(along, axis=0), jnp.sum(cotangent, axis=0)


layer_norm.defvjp(_layer_norm_forward, _layer_norm_backward)


class Messages(NamedTuple):
    """Weights of the gated graph convolution (GHConvDense in the reference's tfmodel/model.py)."""

    theta: Float[Array, "*chains dim features"]
    weight_gate: Float[Array, "*chains dim features"]
    bias_gate: Float[Array, "*chains features"]
    weight_self: Float[Array, "*chains dim features"]


class _MessageWeights(nn.Module):
    inner: int
    outer: int

    @nn.compact
    def __call__(self) -> Messages:
        shape = (self.inner, self.outer)
        return Messages(
            theta=self.param("theta", random_normal, shape),
            weight_gate=self.param("W_t", random_normal, shape),
            bias_gate=self.param("b_t", random_normal, (self.outer,)),
            weight_self=self.param("W_h", random_normal, shape),
        )


class GraphLayer(NamedTuple):
    """Weights of a graph layer; `rotations` are not trained."""

    embed: tuple[Affine, ...]
    messages: Messages
    rotations: Float[Array, "*chains dim half_max_bins"]


class GraphLayerWeights(nn.Module):
    """Declares a graph layer for `num_features` input features per element."""

    config: config_lib.ModelConfig
    num_features: int

    @nn.compact
    def __call__(self) -> GraphLayer:
        config = self.config
        rotations = self.variable("rotations", "rotations", self._draw_rotations).value
        widths = (self.num_features, config.embedding_hidden_dim, config.embedding_dim)
        return GraphLayer(
            FeedForwardWeights(widths, name="ffn_dist")(),
            _MessageWeights(self.num_features, config.hidden_dim, name="msg_0")(),
            rotations,
        )

    def _draw_rotations(self) -> Float[Array, "dim half_max_bins"]:
        shape = (self.config.embedding_dim, self.config.max_num_bins // 2)
        return random_normal(self.make_rng("rotations"), shape)


def graph_layer(
    layer: GraphLayer,
    x: Float[Array, "rows dim"],
    mask: Bool[Array, "batch elements"],
    config: config_lib.ModelConfig,
    ragged: lsh.Ragged | None = None,
) -> tuple[Float[Array, "rows features"], Mapping[str, Array]]:
    """Embeds the elements, bins them by LSH and passes messages within each bin.

    Rows are the elements of all events of a batch, one after another: batch * elements. With
    `ragged`, a batch is one list of the elements of several events, and no bin contains two events.
    Returns the encoding, which is zero at padding, and the intermediate values by name. `x` must be
    finite at padding.

    Source: CombinedGraphLayer in the reference's tfmodel/model.py.
    """
    messages, precision = layer.messages, config.precision
    kernels = [layer.embed[0].kernel, messages.weight_self, messages.weight_gate, messages.theta]
    # A(x theta) = (A x) theta: the narrower of the two is passed through the bins.
    passes_input = messages.theta.shape[0] < messages.theta.shape[1]
    hidden, own, gate, *values = product_with_all(
        x, kernels[:3] if passes_input else kernels, precision
    )
    embedding = feed_forward(add_bias(hidden, layer.embed[0].bias), layer.embed[1:], precision)
    passed, inner = _pass_in_bins(
        embedding, x if passes_input else values[0], mask, layer.rotations, config, ragged
    )
    if passes_input:
        passed = precision_lib.matmul(passed, messages.theta, precision)
    openness = nn.sigmoid(add_bias(gate, messages.bias_gate))
    blend = openness * passed + (1 - openness) * own
    encoding = _elu(jnp.where(mask.reshape(-1, 1), blend, 0))
    return encoding, inner | {"embedding": embedding, "encoding": encoding}


def _pass_in_bins(
    embedding: Float[Array, "rows dim"],
    values: Float[Array, "rows width"],
    mask: Bool[Array, "batch elements"],
    rotations: Float[Array, "dim half_max_bins"],
    config: config_lib.ModelConfig,
    ragged: lsh.Ragged | None,
) -> tuple[Float[Array, "rows width"], dict[str, Array]]:
    """Passes messages inside the bins, in the order of elements; also returns intermediates."""
    num_events, num_elements = mask.shape
    is_real = mask.reshape(-1)
    num_buckets = ragged.num_bins if ragged else num_elements // config.bin_size
    hashes = lsh.hash_elements(embedding, is_real, rotations, num_buckets)
    hashes = hashes.reshape(mask.shape)
    in_event, place_in_event = _sort(lax.stop_gradient(hashes), ragged)
    first_row = num_elements * jnp.arange(num_events, dtype=in_event.dtype)[:, None]
    order, inverse = ((first_row + x).reshape(-1) for x in (in_event, place_in_event))

    def to_bins(rows):
        return rows.reshape(-1, config.bin_size, *rows.shape[1:])

    real = to_bins(is_real[order])

    def in_bins(rows):
        return jnp.where(real[..., None], to_bins(lsh.permute(rows, order, inverse)), 0)

    passed = _pass_messages(in_bins(embedding), in_bins(values), real, config)
    bins = in_event.reshape(num_events, -1, config.bin_size)
    return lsh.permute(passed.reshape(values.shape), inverse, order), {"hash": hashes, "bins": bins}


def _sort(hashes, ragged):
    return lsh.sort_in_events(hashes, ragged) if ragged else lsh.sort_by_hash(hashes)


def _pass_messages(embedding, values, real, config):
    scale, precision = config.distance_scale, config.precision
    if config.pair_kernel == "xla":
        return message_passing.pass_messages(embedding, values, real, scale, precision)
    is_interpreted = config.pair_kernel == "interpret"
    return pair_kernel.pass_messages(
        embedding, values, real, scale=scale, precision=precision, is_interpreted=is_interpreted
    )
