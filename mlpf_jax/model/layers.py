"""The layers of the network: functions of arrays and a mask, for any leading batch axes.

Padding is silenced where it enters a layer, with `where`: multiplying by a mask would let a NaN
through, in the value or in the gradient.
"""

import functools
from collections.abc import Callable, Sequence

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from mlpf_jax import config as config_lib
from mlpf_jax.model import lsh, pair_kernel
from mlpf_jax.model import precision as precision_lib

_EPSILON = 1e-6  # keeps roots away from zero; the reference's value, part of its numbers
_MAX_DEGREE = 1000.0

# keras' "random_normal": not truncated, unlike what most call a normal initialiser.
random_normal = nn.initializers.normal(0.05)
glorot_uniform = nn.initializers.glorot_uniform()


def pair_adjacency(
    embedding: Float[Array, "*batch size dim"], scale: float, precision: config_lib.Precision
) -> Float[Array, "*batch size size"]:
    """Returns exp(-scale * distance) for every pair, an element with itself included.

    The squared distance is taken as n_i - 2 x_i x_j + n_j, which cancels badly for close pairs;
    so does the reference. Its clip to [0, 1] is left out: no exp of a negative number needs it.

    Source: NodePairGaussianKernel and pairwise_l2_dist in the reference's tfmodel/model.py.
    """
    x = precision_lib.round_operand(embedding, precision)
    square = jnp.sum(x * x, axis=-1)
    product = precision_lib.matmul(x, x.mT, precision)
    square_distance = square[..., :, None] - 2 * product + square[..., None, :]
    return jnp.exp(-scale * jnp.sqrt(jnp.maximum(square_distance, _EPSILON)))


def _add_bias(
    x: Float[Array, "*batch dim"], bias: Float[Array, " dim"]
) -> Float[Array, "*batch dim"]:
    return x + bias.reshape((1,) * (x.ndim - 1) + bias.shape)


class Dense(nn.Module):
    """An affine layer on the concatenation of `parts`, without building the concatenation.

    A part that stands twice in the list is multiplied once, by the sum of its two blocks of rows.
    """

    features: int
    precision: config_lib.Precision

    @nn.compact
    def __call__(self, *parts: Float[Array, "*batch _"]) -> Float[Array, "*batch {self.features}"]:
        widths = [part.shape[-1] for part in parts]
        kernel = self.param("kernel", glorot_uniform, (sum(widths), self.features))
        bias = self.param("bias", nn.initializers.zeros, (self.features,))

        merged: dict[int, tuple[jax.Array, jax.Array]] = {}
        start = 0
        for part, width in zip(parts, widths, strict=True):
            rows = kernel[start : start + width]
            start += width
            _, earlier = merged.get(id(part), (part, None))
            merged[id(part)] = (part, rows if earlier is None else earlier + rows)
        products = [precision_lib.matmul(x, rows, self.precision) for x, rows in merged.values()]
        return _add_bias(functools.reduce(jnp.add, products), bias)


class FeedForward(nn.Module):
    """Dense layers with elu between them; the last is linear."""

    widths: Sequence[int]
    precision: config_lib.Precision

    @nn.compact
    def __call__(
        self, *parts: Float[Array, "*batch _"]
    ) -> Float[Array, "*batch {self.widths[-1]}"]:
        x = Dense(self.widths[0], self.precision, name="dense_0")(*parts)
        for i, width in enumerate(self.widths[1:], start=1):
            x = Dense(width, self.precision, name=f"dense_{i}")(nn.elu(x))
        return x


class GHConv(nn.Module):
    """Gated graph convolution: blends what the neighbours say with the element itself.

    `x` must be zero at padding, where the output then is zero too; `adjacency` may be anything
    finite there. `pass_messages`, if given, stands for the normalised adjacency.

    Source: GHConvDense in the reference's tfmodel/model.py, with normalize_degrees.
    """

    features: int
    precision: config_lib.Precision

    @nn.compact
    def __call__(
        self,
        x: Float[Array, "*batch size dim"],
        adjacency: Float[Array, "*batch size size"],
        mask: Bool[Array, "*batch size"],
        pass_messages: Callable[[jax.Array], jax.Array] | None = None,
    ) -> Float[Array, "*batch size {self.features}"]:
        def product(left, right):
            return precision_lib.matmul(left, right, self.precision)

        shape = (x.shape[-1], self.features)
        theta = self.param("theta", random_normal, shape)
        weight_gate = self.param("W_t", random_normal, shape)
        bias_gate = self.param("b_t", random_normal, (self.features,))
        weight_self = self.param("W_h", random_normal, shape)

        real = mask[..., None]
        degree = jnp.sum(jnp.where(mask[..., None, :], adjacency, 0), axis=-1, keepdims=True)
        norm = jnp.where(real, (jnp.minimum(degree, _MAX_DEGREE) + _EPSILON) ** -0.5, 0)

        def from_adjacency(values):
            return product(adjacency, values * norm) * norm

        pass_messages = pass_messages or from_adjacency
        # A(x theta) = (A x) theta: the narrower side is passed on.
        if shape[0] < shape[1]:
            neighbours = product(pass_messages(x), theta)
        else:
            neighbours = pass_messages(product(x, theta))
        gate = nn.sigmoid(_add_bias(product(x, weight_gate), bias_gate))
        return nn.elu(gate * neighbours + (1 - gate) * product(x, weight_self))


class GraphLayer(nn.Module):
    """Embeds the elements, bins them by LSH and passes messages inside each bin.

    Source: CombinedGraphLayer in the reference's tfmodel/model.py.
    """

    config: config_lib.ModelConfig

    @nn.compact
    def __call__(
        self, x: Float[Array, "batch elements dim"], mask: Bool[Array, "batch elements"]
    ) -> Float[Array, "batch elements {self.config.hidden_dim}"]:
        config = self.config
        num_events, num_elements, _ = x.shape
        num_bins = num_elements // config.bin_size
        rotations = self.variable("rotations", "rotations", self._draw_rotations).value

        embedding = FeedForward(
            (config.embedding_hidden_dim, config.embedding_dim), config.precision, name="ffn_dist"
        )(x)
        hashes = lsh.hash_elements(embedding, mask, rotations, num_bins)
        order, inverse = lsh.sort_by_hash(jax.lax.stop_gradient(hashes))

        def to_bins(values):
            return values.reshape(num_events, num_bins, config.bin_size, *values.shape[2:])

        mask_in_bins = to_bins(jnp.take_along_axis(mask, order, axis=-1))
        real = mask_in_bins[..., None]
        embedding_in_bins = jnp.where(real, to_bins(lsh.permute(embedding, order, inverse)), 0)
        x_in_bins = jnp.where(real, to_bins(lsh.permute(x, order, inverse)), 0)
        adjacency = pair_adjacency(embedding_in_bins, config.distance_scale, config.precision)
        out = GHConv(config.hidden_dim, config.precision, name="msg_0")(
            x_in_bins, adjacency, mask_in_bins, self._kernel(embedding_in_bins, mask_in_bins)
        )
        encoding = lsh.permute(out.reshape(num_events, num_elements, -1), inverse, order)
        for name, value in (
            ("hash", hashes),
            ("embedding", embedding),
            ("bins", to_bins(order)),
            ("adjacency", jnp.where(real & mask_in_bins[..., None, :], adjacency, 0)),
            ("encoding", encoding),
        ):
            self.sow("intermediates", name, value)
        return encoding

    def _kernel(self, embedding, mask):
        """Returns the fused kernel, if one is asked for: it makes the adjacency itself."""
        config = self.config
        if config.pair_kernel == "xla":
            return None
        return lambda values: pair_kernel.pass_messages(
            embedding,
            values,
            mask,
            scale=config.distance_scale,
            precision=config.precision,
            target=config.pair_kernel,
        )

    def _draw_rotations(self) -> Float[Array, "dim half_max_bins"]:
        shape = (self.config.embedding_dim, self.config.max_num_bins // 2)
        return random_normal(self.make_rng("rotations"), shape)
