"""The network as its authors write it: one event, layer by layer, gradients by autodiff.

`pfnet` computes the same function faster; tests compare both in float64, values and gradients. This
one keeps all pairs in memory and expects zeros in padded rows. Formulas, masks and names of weights
are those of the original, including its quirks.

Source: PFNetDense in the reference's tfmodel/model.py with parameters/delphes-benchmark.yaml.
Method: J. Pata et al., Eur. Phys. J. C 81 (2021) 381.
"""

import functools
from collections.abc import Sequence

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.lax import stop_gradient
from jaxtyping import Array, Float, Int

from mlpf_jax import config as config_lib
from mlpf_jax.model.pfnet import Candidates

_normal = nn.initializers.normal(0.05)
_Dense = functools.partial(nn.Dense, kernel_init=nn.initializers.glorot_uniform())


class FeedForward(nn.Module):
    """Dense layers, elu after all but the last."""

    widths: Sequence[int]

    @nn.compact
    def __call__(self, x: Float[Array, "elements _"]) -> Float[Array, "elements _"]:
        for i, width in enumerate(self.widths):
            x = _Dense(width, name=f"dense_{i}")(nn.elu(x) if i > 0 else x)
        return x


def encode(x: Float[Array, "elements 12"]) -> Float[Array, "elements 14"]:
    """Returns one_hot(type), then the other columns.

    Source: InputEncoding in the reference's tfmodel/model.py.
    """
    return jnp.concatenate([jax.nn.one_hot(x[:, 0].astype(int), 3, dtype=x.dtype), x[:, 1:]], -1)


def split_into_bins(
    embedding: Float[Array, "elements dim"],
    mask: Float[Array, "elements 1"],
    rotations: Float[Array, "dim half_max_bins"],
    bin_size: int,
) -> Int[Array, "bins size"]:
    """Returns the indices of the elements of each bin.

        h_i = argmax(d_i R, -d_i R) + (bins - 1 if i is padding),  bins = equal cuts of argsort(h)

    Source: split_indices_to_bins_batch in the reference's tfmodel/model.py.
    """
    num_bins = len(embedding) // bin_size
    rotated = embedding @ rotations[:, : num_bins // 2]
    hashes = jnp.argmax(jnp.concatenate([rotated, -rotated], -1), -1)
    hashes = jnp.where(mask[:, 0] == 1, hashes, hashes + num_bins - 1)
    return jnp.argsort(hashes, stable=True).reshape(num_bins, bin_size)


def adjacency(
    d: Float[Array, "bins size dim"], k: Float[Array, "bins size 1"], scale: float
) -> Float[Array, "bins size size"]:
    """Returns A_ij = exp(-scale |d_i - d_j|) for every pair of a bin, 0 with padding.

        |d_i - d_j|^2 = n_i - 2 d_i . d_j + n_j  where n_i = |d_i|^2, and at least 1e-6

    Source: NodePairGaussianKernel and pairwise_l2_dist in the reference's tfmodel/model.py.
    """
    d = d * k
    n = jnp.sum(d**2, -1, keepdims=True)
    distance = jnp.sqrt(jnp.maximum(n - 2 * d @ d.mT + n.mT, 1e-6))
    return jnp.clip(jnp.exp(-scale * distance), 0, 1) * k * k.mT


class GHConv(nn.Module):
    """The gated graph convolution, with D the diagonal matrix of degrees D_ii = sum_j A_ij.

        hom = D^(-1/2) A D^(-1/2) (f theta),  het = f W_h,  g = sigmoid(f W_t + b_t)
        out = elu(g hom + (1 - g) het)

    Source: GHConvDense in the reference's tfmodel/model.py, with normalize_degrees.
    """

    features: int

    @nn.compact
    def __call__(
        self,
        f: Float[Array, "bins size dim"],
        a: Float[Array, "bins size size"],
        k: Float[Array, "bins size 1"],
    ) -> Float[Array, "bins size features"]:
        shape = (f.shape[-1], self.features)
        theta, w_t, w_h = (self.param(n, _normal, shape) for n in ("theta", "W_t", "W_h"))
        b_t = self.param("b_t", _normal, shape[1:])
        degree = jnp.clip(jnp.sum(jnp.abs(a), -1, keepdims=True), 0, 1000)
        norm = (degree + 1e-6) ** -0.5 * k
        hom = (a @ (((f * k) @ theta) * k * norm)) * norm
        het = (f * k) @ w_h
        g = nn.sigmoid(f @ w_t + b_t[None, None])
        return nn.elu(g * hom + (1 - g) * het) * k


class GraphLayer(nn.Module):
    """Passes messages inside bins.

    Source: CombinedGraphLayer in the reference's tfmodel/model.py.
    """

    config: config_lib.ModelConfig

    @nn.compact
    def __call__(
        self, x: Float[Array, "elements dim"], mask: Float[Array, "elements 1"]
    ) -> Float[Array, "elements features"]:
        c = self.config
        d = FeedForward((c.embedding_hidden_dim, c.embedding_dim), name="ffn_dist")(x)
        rotations = self.variable("rotations", "rotations", self._draw).value
        bins = split_into_bins(d, mask, rotations, c.bin_size)
        a = adjacency(d[bins], mask[bins], c.distance_scale)
        out = GHConv(c.hidden_dim, name="msg_0")(x[bins], a, mask[bins])
        return jnp.zeros((len(x), c.hidden_dim), out.dtype).at[bins].set(out)

    def _draw(self):
        shape = (self.config.embedding_dim, self.config.max_num_bins // 2)
        return _normal(self.make_rng("rotations"), shape)


class Decoder(nn.Module):
    """Turns the encodings into candidates by six feed-forward heads.

    Source: OutputDecoding in the reference's tfmodel/model.py. As in the source, the logits enter
    the energy twice, outputs of eta and phi are unused, and gradients are stopped.
    """

    config: config_lib.ModelConfig

    @nn.compact
    def __call__(
        self,
        x: Float[Array, "elements 12"],
        m: Float[Array, "elements 1"],
        decoded: Float[Array, "elements _"],
        decoded_energy: Float[Array, "elements _"],
    ) -> Candidates:
        def head(name, inputs, num_hidden, num_outputs):
            hidden = [self.config.decoder_dim // 2**i for i in range(num_hidden)]
            return FeedForward((*hidden, num_outputs), name=name)(inputs) * m

        z = nn.LayerNorm(epsilon=1e-3, use_fast_variance=False, name="layernorm")(decoded)
        logits = head("ffn_id", z, 4, 6)
        fixed = stop_gradient(logits)
        z_regression = jnp.concatenate([z, fixed], -1)
        z_energy = jnp.concatenate([z, fixed, decoded_energy, fixed], -1)
        c_eta = head("ffn_eta", z_regression, 3, 2)
        c_phi = head("ffn_phi", z_regression, 3, 4)
        c_pt = head("ffn_pt", z_energy, 3, 2)
        eta = x[:, 2] * m[:, 0] + c_eta[:, 1]
        energy = jnp.sum(jax.nn.softmax(100 * fixed) * head("ffn_energy", z_energy, 3, 6), -1)
        pt_from_energy = stop_gradient(energy / jnp.cosh(jnp.clip(eta, -8, 8)))
        return Candidates(
            class_logits=logits,
            charge=head("ffn_charge", z, 2, 1)[:, 0],
            pt=(pt_from_energy + nn.sigmoid(c_pt[:, 0]) * c_pt[:, 1]) * m[:, 0],
            eta=eta,
            sin_phi=x[:, 3] * m[:, 0] + c_phi[:, 1],
            cos_phi=x[:, 4] * m[:, 0] + c_phi[:, 3],
            energy=energy,
        )


class ReferenceNet(nn.Module):
    """Reconstructs the candidates of one event; use `jax.vmap` for a batch."""

    config: config_lib.ModelConfig

    @nn.compact
    def __call__(self, x: Float[Array, "elements 12"]) -> Candidates:
        mask, encoded = (x[:, :1] != 0).astype(x.dtype), encode(x)

        def chain(prefix, num_layers):
            encodings = [encoded]
            for i in range(num_layers):
                layer = GraphLayer(self.config, name=f"{prefix}_{i}")
                encodings.append(layer(encodings[-1], mask))
            return encodings[1:]

        id_encodings = chain("cg", self.config.num_id_layers)
        energy_encodings = chain("cg_energy", self.config.num_energy_layers)
        decoded = jnp.concatenate([encoded, *id_encodings], -1) * mask
        twice = [e for encoding in energy_encodings for e in (encoding, encoding)]
        decoded_energy = jnp.concatenate(twice, -1) * mask
        return Decoder(self.config, name="output_dec")(x, mask, decoded, decoded_energy)
