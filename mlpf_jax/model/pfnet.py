"""The network: detector elements in, particle candidates out.

Source: PFNetDense in the reference's tfmodel/model.py with parameters/delphes-benchmark.yaml.
"""

from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from mlpf_jax import config as config_lib
from mlpf_jax.model import layers

NUM_ELEMENT_TYPES = 3  # 0 padding, 1 tower, 2 track
NUM_FEATURES = 12  # columns of an element, the type first
NUM_CLASSES = 6  # none, charged hadron, neutral hadron, photon, electron, muon
_ETA, _SIN_PHI, _COS_PHI = 2, 3, 4  # columns of an element
_LAYER_NORM_EPSILON = 1e-3  # keras' default; flax has 1e-6
_ID_SHARPNESS = 100.0  # turns the class weights of the energy into a nearly hard choice


class Candidates(NamedTuple):
    """What the network says of each element; all but the logits is zero at padding, in GeV.

    `class_logits` are zero at padding, too: a uniform choice, whose argmax is class 0 (none).
    """

    class_logits: Float[Array, "*batch elements classes"]
    charge: Float[Array, "*batch elements"]
    pt: Float[Array, "*batch elements"]
    eta: Float[Array, "*batch elements"]
    sin_phi: Float[Array, "*batch elements"]
    cos_phi: Float[Array, "*batch elements"]
    energy: Float[Array, "*batch elements"]


def real_elements(
    elements: Float[Array, "*batch elements features"],
) -> Bool[Array, "*batch elements"]:
    """Returns True where an element is real, not padding."""
    return elements[..., 0] != 0


def encode(
    elements: Float[Array, "*batch elements features"], mask: Bool[Array, "*batch elements"]
) -> Float[Array, "*batch elements encoded"]:
    """Returns the type one-hot, then the other columns as they are: no standardisation, no logs.

    Whatever stands in a padded row is taken as zero, which encodes as (1, 0, 0, 0 ...).

    Source: InputEncoding in the reference's tfmodel/model.py.
    """
    elements = jnp.where(mask[..., None], elements, 0)
    element_type = jax.nn.one_hot(
        elements[..., 0].astype(jnp.int32), NUM_ELEMENT_TYPES, dtype=elements.dtype
    )
    return jnp.concatenate([element_type, elements[..., 1:]], axis=-1)


class Encoder(nn.Module):
    """Two independent chains of graph layers: one for identification, one for the energy.

    Chain by chain they are the same program on other weights, so a layer of both is one layer
    with a leading axis: half the operations to launch, each twice as large.
    """

    config: config_lib.ModelConfig

    @nn.compact
    def __call__(
        self, x: Float[Array, "batch elements encoded"], mask: Bool[Array, "batch elements"]
    ) -> tuple[list[Float[Array, "batch elements dim"]], list[Float[Array, "batch elements dim"]]]:
        id_encodings, energy_encodings = [], []
        num_id, num_energy = self.config.num_id_layers, self.config.num_energy_layers
        chains, stacked_before = x, 0
        for i in range(max(num_id, num_energy)):
            encodings = [
                e for e, n in ((id_encodings, num_id), (energy_encodings, num_energy)) if i < n
            ]
            if stacked_before > len(encodings):  # one chain has ended
                chains = chains[:1] if num_id > num_energy else chains[1:]
            layer = nn.vmap(
                layers.GraphLayer,
                in_axes=(0 if stacked_before else None, None),
                variable_axes={"params": 0, "rotations": 0, "intermediates": 0},
                split_rngs={"params": True, "rotations": True},
                axis_size=len(encodings),
            )(self.config, name=f"layer_{i}")
            chains, stacked_before = layer(chains, mask), len(encodings)
            for encoding, chain in zip(encodings, chains, strict=True):
                encoding.append(chain)
        return id_encodings, energy_encodings


class Decoder(nn.Module):
    """Six heads that turn the encodings into candidates.

    Source: OutputDecoding in the reference's tfmodel/model.py; the doubled inputs, the unused
    gates of eta and phi and the stopped gradients are its own.
    """

    config: config_lib.ModelConfig

    @nn.compact
    def __call__(
        self,
        elements: Float[Array, "batch elements features"],
        mask: Bool[Array, "batch elements"],
        decoded: Float[Array, "batch elements _"],
        energy_encodings: list[Float[Array, "batch elements dim"]],
    ) -> Candidates:
        def head(name, num_hidden, num_outputs, *parts):
            widths = [self.config.decoder_dim >> i for i in range(num_hidden)] + [num_outputs]
            ffn = layers.FeedForward(tuple(widths), self.config.precision, name=name)
            return jnp.where(mask[..., None], ffn(*parts), 0)

        z = nn.LayerNorm(epsilon=_LAYER_NORM_EPSILON, use_fast_variance=False, name="layernorm")(
            decoded
        )
        logits = head("ffn_id", 4, NUM_CLASSES, z)
        charge = head("ffn_charge", 2, 1, z)[..., 0]
        id_input = jax.lax.stop_gradient(logits)
        eta = head("ffn_eta", 3, 2, z, id_input)[..., 1] + _skip(elements, mask, _ETA)
        phi = head("ffn_phi", 3, 4, z, id_input)
        twice = [encoding for encoding in energy_encodings for _ in range(2)]
        energy_input = (z, id_input, *twice, id_input)
        energy_per_class = head("ffn_energy", 3, NUM_CLASSES, *energy_input)
        class_weight = jax.nn.softmax(_ID_SHARPNESS * id_input, axis=-1)
        energy = jnp.sum(class_weight * energy_per_class, axis=-1)
        pt_gate, pt_shift = jnp.moveaxis(head("ffn_pt", 3, 2, *energy_input), -1, 0)
        pt_from_energy = jax.lax.stop_gradient(energy / jnp.cosh(jnp.clip(eta, -8, 8)))
        return Candidates(
            class_logits=logits,
            charge=charge,
            pt=jnp.where(mask, pt_from_energy + nn.sigmoid(pt_gate) * pt_shift, 0),
            eta=eta,
            sin_phi=phi[..., 1] + _skip(elements, mask, _SIN_PHI),
            cos_phi=phi[..., 3] + _skip(elements, mask, _COS_PHI),
            energy=energy,
        )


def _skip(elements, mask, column):
    return jnp.where(mask, elements[..., column], 0)


class PFNet(nn.Module):
    """Reconstructs particle candidates, at most one per detector element."""

    config: config_lib.ModelConfig

    @nn.compact
    def __call__(self, elements: Float[Array, "batch elements features"]) -> Candidates:
        mask = real_elements(elements)
        encoded = encode(elements, mask)
        id_encodings, energy_encodings = Encoder(self.config, name="encoder")(encoded, mask)
        decoded = jnp.concatenate([encoded, *id_encodings], axis=-1)
        decoded = jnp.where(mask[..., None], decoded, 0)
        self.sow("intermediates", "decoded", decoded)
        return Decoder(self.config, name="decoder")(elements, mask, decoded, energy_encodings)
