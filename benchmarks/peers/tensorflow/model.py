"""The network in Keras layers, with optimised algebra: merged products, no doubled inputs.

All events of a batch are rows of one matrix; `real` [rows, 1] is 1 for rows that are not padding.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf  # pyrefly: ignore[missing-import]

from benchmarks.peers import constants, layout
from benchmarks.peers.tensorflow import pairs
from mlpf_jax import config as config_lib

Tensor = Any


class Candidates(NamedTuple):
    """The output of the network, [events, elements] each and [..., classes] for the logits."""

    logits: Tensor
    charge: Tensor
    pt: Tensor
    eta: Tensor
    sin_phi: Tensor
    cos_phi: Tensor
    energy: Tensor


class _Weights(tf.keras.layers.Layer):
    """Stores arrays of the layout as variables, by the last part of their names."""

    def __init__(self, arrays: Mapping[str, np.ndarray], prefix: str):
        super().__init__(name=prefix.replace("/", "_"))
        self.held: dict[str, Any] = {}
        for name, array in arrays.items():
            folder, _, own = name.rpartition("/")
            if folder == prefix:
                self.held[own] = self.add_weight(
                    name=own,
                    shape=array.shape,
                    initializer=tf.constant_initializer(array),
                    trainable=own != layout.ROTATIONS,
                )


class GraphLayer(_Weights):
    """Embeds the elements, bins them by LSH and passes messages inside each bin."""

    def __init__(
        self,
        config: config_lib.ModelConfig,
        arrays: Mapping[str, np.ndarray],
        prefix: str,
        *,
        walks: bool,
    ):
        super().__init__(arrays, prefix)
        self._config, self._walks = config, walks
        width = len(arrays[f"{prefix}/projections"])
        self._passes_input = layout.passes_input(config, width)
        self._widths = layout.projections(config, width)

    def call(self, x: Tensor, real: Tensor, num_events: int) -> Tensor:
        """Takes `x` [rows, width]; the result is zero at padding."""
        held = self.held
        hidden, own, gate, *values = tf.split(
            tf.matmul(x, held["projections"]), self._widths, axis=1
        )
        hidden = tf.nn.elu(tf.nn.bias_add(hidden, held["bias_hidden"]))
        embedding = tf.nn.bias_add(
            tf.matmul(hidden, held["kernel_embedding"]), held["bias_embedding"]
        )
        passed = pairs.pass_messages(
            embedding,
            x if self._passes_input else values[0],
            real,
            self._sorted_by_hash(tf.stop_gradient(embedding), real, num_events),
            bin_size=self._config.bin_size,
            scale=self._config.distance_scale,
            walks=self._walks,
        )
        if self._passes_input:
            passed = tf.matmul(passed, held["theta"])
        gate = tf.sigmoid(tf.nn.bias_add(gate, held["bias_gate"]))
        return tf.nn.elu(own + gate * (passed - own)) * real

    def _sorted_by_hash(self, embedding: Tensor, real: Tensor, num_events: int) -> Tensor:
        """Returns the rows, event by event, in the stable order of their hashes."""
        num_elements = embedding.shape[0] // num_events
        num_bins = num_elements // self._config.bin_size
        projection = tf.matmul(embedding, self.held[layout.ROTATIONS][:, : num_bins // 2])
        scores = tf.concat([projection, -projection], axis=1)
        axis = tf.argmax(scores, axis=1, output_type=tf.int32)
        bucket = tf.where(real[:, 0] != 0, axis, axis + (num_bins - 1))
        # Bucket and position form one unique key, so any sort is stable.
        position = tf.range(num_elements)
        keys = tf.reshape(bucket, (num_events, -1)) * num_elements + position
        order = tf.sort(keys, axis=1) % num_elements
        return tf.reshape(order + tf.range(num_events)[:, None] * num_elements, (-1,))


class FeedForward(_Weights):
    """The layers after a head's first product: repeatedly elu, product and bias."""

    def __init__(self, config: config_lib.ModelConfig, arrays: Mapping[str, np.ndarray], head: str):
        super().__init__(arrays, f"decoder/{head}")
        self._numbers = range(1, len(layout.head_widths(config, head)))

    def call(self, x: Tensor) -> Tensor:
        for i in self._numbers:
            product = tf.matmul(tf.nn.elu(x), self.held[f"kernel_{i}"])
            x = tf.nn.bias_add(product, self.held[f"bias_{i}"])
        return x


class Decoder(_Weights):
    """The six heads; their first layers are one product for each kind of input."""

    def __init__(self, config: config_lib.ModelConfig, arrays: Mapping[str, np.ndarray]):
        super().__init__(arrays, "decoder")
        self._width = config.decoder_dim
        self.heads = {head: FeedForward(config, arrays, head) for head in layout.HEADS}

    def call(self, decoded: Tensor, energies: Tensor, real: Tensor) -> dict[str, Tensor]:
        """Takes [rows, _]; returns the heads' outputs, of which the logits are zero at padding."""
        held, width = self.held, self._width
        first = tf.nn.bias_add(tf.matmul(self._normalise(decoded), held["kernel"]), held["bias"])
        from_id, charge, rest = tf.split(first, [width, width, 4 * width], axis=1)
        logits = self.heads["id"](from_id) * real
        known = tf.stop_gradient(logits)
        rest += tf.matmul(known, held["kernel_logits"])
        eta, phi, rest = tf.split(rest, [width, width, 2 * width], axis=1)
        # The encodings and the logits are used twice, so their weights are added instead.
        rest += tf.matmul(known, held["kernel_logits_again"])
        rest += tf.matmul(energies, tf.reduce_sum(held["kernel_energies"], axis=0))
        energy, pt = tf.split(rest, 2, axis=1)
        inputs = {"charge": charge, "eta": eta, "phi": phi, "energy": energy, "pt": pt}
        return {"id": logits} | {head: self.heads[head](x) for head, x in inputs.items()}

    def _normalise(self, decoded: Tensor) -> Tensor:
        mean, variance = tf.nn.moments(decoded, axes=[1], keepdims=True)
        return tf.nn.batch_normalization(
            decoded,
            mean,
            variance,
            self.held["norm_bias"],
            self.held["norm_scale"],
            constants.LAYER_NORM_EPSILON,
        )


class PFNet(tf.keras.Model):
    """Reconstructs particle candidates, at most one per detector element."""

    def __init__(
        self, config: config_lib.ModelConfig, arrays: Mapping[str, np.ndarray], *, walks: bool
    ):
        super().__init__()
        self.graph_layers = {
            name: GraphLayer(config, arrays, name, walks=walks) for name in layout.layers(config)
        }
        self.decoder = Decoder(config, arrays)

    def call(self, elements: Tensor) -> Candidates:
        """Takes [events, elements, 12]."""
        num_events, num_elements, _ = elements.shape
        mask = elements[..., 0] != 0
        real = tf.reshape(tf.cast(mask, elements.dtype), (-1, 1))
        element_type = tf.one_hot(
            tf.cast(elements[..., 0], tf.int32), layout.NUM_TYPES, dtype=elements.dtype
        )
        encoded = tf.concat([element_type, elements[..., 1:]], axis=-1)
        encoded = tf.reshape(encoded, (-1, layout.ENCODED))
        chains: dict[str, list[Tensor]] = {"cg": [], "cg_energy": []}
        for name, layer in self.graph_layers.items():
            encodings = chains[name.rpartition("_")[0]]
            x = encodings[-1] if encodings else encoded
            encodings.append(layer(x, real=real, num_events=num_events))
        decoded = tf.concat([encoded * real, *chains["cg"]], axis=1)
        energies = tf.concat(chains["cg_energy"], axis=1)
        heads = self.decoder(decoded, energies=energies, real=real)
        shape = (num_events, num_elements, -1)
        return _candidates(elements, mask, {k: tf.reshape(x, shape) for k, x in heads.items()})

    def arrays_of(self, values: Mapping[int, Tensor]) -> dict[str, np.ndarray]:
        """Names values by their variables, given by id, as the layout does."""
        holders = dict(self.graph_layers) | {"decoder": self.decoder}
        holders |= {f"decoder/{head}": layer for head, layer in self.decoder.heads.items()}
        return {
            f"{prefix}/{own}": values[id(variable)].numpy()
            for prefix, layer in holders.items()
            for own, variable in layer.held.items()
            if id(variable) in values
        }


def _candidates(elements: Tensor, mask: Tensor, heads: Mapping[str, Tensor]) -> Candidates:
    """Turns the heads' outputs into candidates; two gates of phi and one of eta go unused.

    Source: OutputDecoding in the reference's tfmodel/model.py.
    """

    def at_real(x: Tensor) -> Tensor:
        return tf.where(mask, x, 0)

    logits = heads["id"]
    choice = tf.nn.softmax(constants.ID_SHARPNESS * tf.stop_gradient(logits))
    energy = at_real(tf.reduce_sum(choice * heads["energy"], axis=-1))
    eta = at_real(elements[..., 2] + heads["eta"][..., 1])
    pt_from_energy = tf.stop_gradient(energy / tf.cosh(tf.clip_by_value(eta, -8, 8)))
    pt_gate, pt_shift = tf.unstack(heads["pt"], axis=-1)
    return Candidates(
        logits=logits,
        charge=at_real(heads["charge"][..., 0]),
        pt=at_real(pt_from_energy + tf.sigmoid(pt_gate) * pt_shift),
        eta=eta,
        sin_phi=at_real(elements[..., 3] + heads["phi"][..., 1]),
        cos_phi=at_real(elements[..., 4] + heads["phi"][..., 3]),
        energy=energy,
    )
