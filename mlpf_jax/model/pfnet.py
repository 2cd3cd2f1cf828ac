"""The network: detector elements in, particle candidates out.

Source: PFNetDense in the reference's tfmodel/model.py with parameters/delphes-benchmark.yaml.
"""

from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from mlpf_jax import config as config_lib
from mlpf_jax.model import layers, lsh
from mlpf_jax.model.parts import Part

NUM_ELEMENT_TYPES = 3  # 0 padding, 1 tower, 2 track
NUM_FEATURES = 12  # columns of an element, the type first
NUM_CLASSES = 6  # none, charged hadron, neutral hadron, photon, electron, muon
_ETA, _SIN_PHI, _COS_PHI = 2, 3, 4  # columns of an element
_LAYER_NORM_EPSILON = 1e-3  # keras' default; flax has 1e-6
_EQUALLY_DEEP = ("ffn_eta", "ffn_phi", "ffn_energy", "ffn_pt")  # heads, as they are declared
_ID_SHARPNESS = 100.0  # makes the class weights of the energy a nearly hard choice


class Candidates(NamedTuple):
    """The output of the network for each element, in GeV; all but the logits are zero at padding.

    `class_logits` are also zero at padding: a uniform distribution, with argmax 0 (none).
    """

    class_logits: Float[Array, "*batch elements classes"]
    charge: Float[Array, "*batch elements"]
    pt: Float[Array, "*batch elements"]
    eta: Float[Array, "*batch elements"]
    sin_phi: Float[Array, "*batch elements"]
    cos_phi: Float[Array, "*batch elements"]
    energy: Float[Array, "*batch elements"]

    def in_events(self, num_events: int) -> "Candidates":
        """Returns the candidates with an event axis, from one list of elements."""
        return jax.tree.map(lambda x: x.reshape(num_events, -1, *x.shape[1:]), self)


@Part.ENCODING.mark
def real_elements(
    elements: Float[Array, "*batch elements features"],
) -> Bool[Array, "*batch elements"]:
    """Returns True for real elements, False for padding."""
    return elements[..., 0] != 0


@Part.ENCODING.mark
def encode(
    elements: Float[Array, "*batch elements features"], mask: Bool[Array, "*batch elements"]
) -> Float[Array, "*batch elements encoded"]:
    """Returns the type one-hot, then the other columns unchanged (no standardisation, no logs).

    Padded rows are treated as zero, which is encoded as (1, 0, 0, 0 ...).

    Source: InputEncoding in the reference's tfmodel/model.py.
    """
    elements = jnp.where(mask[..., None], elements, 0)
    element_type = jax.nn.one_hot(
        elements[..., 0].astype(jnp.int32), NUM_ELEMENT_TYPES, dtype=elements.dtype
    )
    return jnp.concatenate([element_type, elements[..., 1:]], axis=-1)


class Encoder(nn.Module):
    """Two independent chains of graph layers: one for identification, one for the energy.

    The chains are the same program with different weights, which have a leading axis.
    `stacks_chains` computes both at once: half as many operations, each twice as large. That is
    faster on accelerators; a CPU is faster with one chain after the other.
    """

    config: config_lib.ModelConfig
    stacks_chains: bool

    @nn.compact
    def __call__(
        self,
        x: Float[Array, "rows encoded"],
        mask: Bool[Array, "batch elements"],
        ragged: lsh.Ragged | None = None,
    ) -> tuple[list[Float[Array, "rows dim"]], list[Float[Array, "rows dim"]]]:
        num_layers = (self.config.num_id_layers, self.config.num_energy_layers)
        chains: tuple[list[jax.Array], list[jax.Array]] = ([], [])
        for i in range(max(num_layers)):
            growing = [chain for chain, n in zip(chains, num_layers, strict=True) if i < n]
            weights = nn.vmap(
                layers.GraphLayerWeights,
                variable_axes={"params": 0, "rotations": 0},
                split_rngs={"params": True, "rotations": True},
                axis_size=len(growing),
            )(self.config, x.shape[-1] if i == 0 else self.config.hidden_dim, name=f"layer_{i}")()
            with jax.named_scope(f"layer_{i}"):
                inputs = [chain[-1] if chain else x for chain in growing]
                encodings, inner = self._apply(weights, inputs, mask, ragged)
            for chain, encoding in zip(growing, encodings, strict=True):
                chain.append(encoding)
            self.sow("intermediates", f"layer_{i}_inner", inner)
        return chains

    def _apply(self, weights, inputs, mask, ragged):
        """Returns each chain's encoding, and the intermediates with an axis of chains."""

        def apply(weights, x):
            return layers.graph_layer(weights, x, mask, self.config, ragged)

        if self.stacks_chains:
            return jax.vmap(apply)(weights, jnp.stack(inputs))
        outputs = [
            apply(jax.tree.map(lambda w, i=i: w[i], weights), x) for i, x in enumerate(inputs)
        ]
        encodings, inner = zip(*outputs, strict=True)
        return encodings, jax.tree.map(lambda *values: jnp.stack(values), *inner)


class Decoder(nn.Module):
    """Six heads that turn the encodings into candidates.

    Their first layers share inputs: all six use the normalised encoding z, two use the logits, and
    two use the encodings of the energy and the logits. There is one product for each kind of input.
    If the reference feeds an input twice, it is multiplied once, by the sum of the two blocks of
    rows. `stacks_heads` computes the later layers of the four heads of equal depth at once.

    Source: OutputDecoding in the reference's tfmodel/model.py; the doubled inputs, the unused
    gates of eta and phi and the stopped gradients are its own.
    """

    config: config_lib.ModelConfig
    stacks_heads: bool = False

    @nn.compact
    def __call__(
        self,
        elements: Float[Array, "rows features"],
        mask: Bool[Array, " rows"],
        decoded: Float[Array, "rows _"],
        energy_encodings: list[Float[Array, "rows dim"]],
    ) -> Candidates:
        scale, bias = layers.NormWeights(decoded.shape[-1], name="layernorm")()
        z = layers.layer_norm(decoded, scale, bias, _LAYER_NORM_EPSILON)
        z_dim, precision = z.shape[-1], self.config.precision
        heads = self._declare_heads(z_dim)

        def rest(name, hidden):
            first, *later = heads[name]
            out = layers.feed_forward(layers.add_bias(hidden, first.bias), later, precision)
            return jnp.where(mask[..., None], out, 0)

        rows = {
            name: _Rows.of(affines[0].kernel, z_dim, self.config.hidden_dim)
            for name, affines in heads.items()
        }
        of_z = layers.product_with_all(z, [kernel.z for kernel in rows.values()], precision)
        hidden = dict(zip(heads, of_z, strict=True))
        logits = rest("ffn_id", hidden["ffn_id"])
        id_input = jax.lax.stop_gradient(logits)
        energy_input = jnp.concatenate([*energy_encodings, id_input], axis=-1)
        for x, names in (
            (id_input, ("ffn_eta", "ffn_phi")),
            (energy_input, ("ffn_energy", "ffn_pt")),
        ):
            kernels = [rows[name].other for name in names]
            products = layers.product_with_all(x, kernels, precision)
            for name, product in zip(names, products, strict=True):
                hidden[name] += product
        at_once = _EQUALLY_DEEP if self.stacks_heads else ()
        outputs = {n: rest(n, h) for n, h in hidden.items() if n not in ("ffn_id", *at_once)}
        if at_once:
            inputs = jnp.stack([hidden[name] for name in at_once])
            out = _at_once(inputs, [heads[name] for name in at_once], precision)
            out = jnp.where(mask[:, None], out, 0)
            outputs |= {
                n: x[:, : heads[n][-1].bias.size] for n, x in zip(at_once, out, strict=True)
            }
        return _candidates(elements, mask, logits, outputs)

    def _declare_heads(self, z_dim):
        with_energy = z_dim + 2 * (
            NUM_CLASSES + self.config.num_energy_layers * self.config.hidden_dim
        )
        inputs_hidden_outputs = {
            "ffn_id": (z_dim, 4, NUM_CLASSES),
            "ffn_charge": (z_dim, 2, 1),
            "ffn_eta": (z_dim + NUM_CLASSES, 3, 2),
            "ffn_phi": (z_dim + NUM_CLASSES, 3, 4),
            "ffn_energy": (with_energy, 3, NUM_CLASSES),
            "ffn_pt": (with_energy, 3, 2),
        }
        heads = {}
        for name, (num_inputs, num_hidden, num_outputs) in inputs_hidden_outputs.items():
            hidden = [self.config.decoder_dim >> i for i in range(num_hidden)]
            widths = (num_inputs, *hidden, num_outputs)
            heads[name] = layers.FeedForwardWeights(widths, name=name)()
        return heads


def _at_once(hidden, heads, precision):
    """Returns outputs [heads, rows, widest output] from the first products [heads, rows, width].

    The first kernels of the heads are not used.
    """
    widest = max(head[-1].bias.size for head in heads)

    def widen(affine):
        added = (0, widest - affine.bias.size)
        return jax.tree.map(lambda x: jnp.pad(x, (*[(0, 0)] * (x.ndim - 1), added)), affine)

    rest = [(head[0].bias, (*head[1:-1], widen(head[-1]))) for head in heads]

    def apply(hidden, rest):
        bias, later = rest
        return layers.feed_forward(layers.add_bias(hidden, bias), later, precision)

    return jax.vmap(apply)(hidden, jax.tree.map(lambda *leaves: jnp.stack(leaves), *rest))


class _Rows(NamedTuple):
    """A first layer's kernel, split by input: z, and the head's other input if any."""

    z: Float[Array, "z_dim outer"]
    other: Float[Array, "_ outer"]

    @classmethod
    def of(cls, kernel, z_dim, encoding_dim):
        """Splits (z), (z, logits) or (z, logits, each encoding twice, logits again).

        The last is summed to (each encoding, logits).
        """
        z, other = kernel[:z_dim], kernel[z_dim:]
        if len(other) <= NUM_CLASSES:
            return cls(z, other)
        twice = other[NUM_CLASSES:-NUM_CLASSES].reshape(-1, 2, encoding_dim, kernel.shape[1])
        encodings = jnp.sum(twice, axis=1).reshape(-1, kernel.shape[1])
        return cls(z, jnp.concatenate([encodings, other[:NUM_CLASSES] + other[-NUM_CLASSES:]]))


def _candidates(elements, mask, logits, heads) -> Candidates:
    eta = heads["ffn_eta"][..., 1] + _skip(elements, mask, _ETA)
    class_weight = jax.nn.softmax(_ID_SHARPNESS * jax.lax.stop_gradient(logits), axis=-1)
    energy = jnp.sum(class_weight * heads["ffn_energy"], axis=-1)
    pt_gate, pt_shift = jnp.moveaxis(heads["ffn_pt"], -1, 0)
    pt_from_energy = jax.lax.stop_gradient(energy / jnp.cosh(jnp.clip(eta, -8, 8)))
    phi = heads["ffn_phi"]
    return Candidates(
        class_logits=logits,
        charge=heads["ffn_charge"][..., 0],
        pt=jnp.where(mask, pt_from_energy + nn.sigmoid(pt_gate) * pt_shift, 0),
        eta=eta,
        sin_phi=phi[..., 1] + _skip(elements, mask, _SIN_PHI),
        cos_phi=phi[..., 3] + _skip(elements, mask, _COS_PHI),
        energy=energy,
    )


def _skip(elements, mask, column):
    return jnp.where(mask, elements[..., column], 0)


class PFNet(nn.Module):
    """Reconstructs particle candidates, at most one per detector element.

    A batch contains events of equal length; with `ragged`, it is one list of all their elements.
    Internally, the elements of all events are rows of one matrix. Only binning distinguishes
    events.
    """

    config: config_lib.ModelConfig
    stacks_chains: bool = False

    @nn.compact
    def __call__(
        self, elements: Float[Array, "batch elements features"], ragged: lsh.Ragged | None = None
    ) -> Candidates:
        with Part.ENCODING.scope():
            return self._reconstruct(elements, ragged)

    def _reconstruct(self, elements, ragged):
        mask = real_elements(elements)
        rows, real = elements.reshape(-1, elements.shape[-1]), mask.reshape(-1)
        encoded = encode(rows, real)
        encoder = Encoder(self.config, self.stacks_chains, name="encoder")
        with Part.GRAPH_LAYER.scope():
            id_encodings, energy_encodings = encoder(encoded, mask, ragged)
        decoded = jnp.concatenate([jnp.where(real[:, None], encoded, 0), *id_encodings], axis=-1)
        self.sow("intermediates", "decoded", decoded)
        decoder = Decoder(self.config, self.stacks_chains, name="decoder")
        with Part.HEADS.scope():
            candidates = decoder(rows, real, decoded, energy_encodings)
        return candidates.in_events(len(mask))
