"""The layout of the peers' weights: weights that multiply the same input are one array.

One table maps pieces of arrays to weights of the reference; the frameworks only convert arrays to
variables. All kernels are [inputs, outputs]. Needs only NumPy, in any version.
"""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from mlpf_jax import config as config_lib

NUM_TYPES, NUM_FEATURES, NUM_CLASSES = 3, 12, 6
ENCODED = NUM_TYPES + NUM_FEATURES - 1
# Head -> its hidden layers and outputs, in the order of the merged arrays: the first two take the
# decoded inputs alone, the next two the logits too, the last two the encodings of energies as well.
HEADS: Mapping[str, tuple[int, int]] = {
    "id": (4, NUM_CLASSES),
    "charge": (2, 1),
    "eta": (3, 2),
    "phi": (3, 4),
    "energy": (3, NUM_CLASSES),
    "pt": (3, 2),
}
ROTATIONS = "rotations"
_ALL = slice(None)

Index = tuple[int | slice, ...]


class Part(NamedTuple):
    """A weight of the reference: pieces of our arrays, one below the other."""

    name: str
    pieces: tuple[tuple[str, Index], ...]  # array, where in it


def layers(config: config_lib.ModelConfig) -> dict[str, int]:
    """Returns the graph layers of both chains and the width of their inputs."""
    chains = {"cg": config.num_id_layers, "cg_energy": config.num_energy_layers}
    return {
        f"{chain}_{i}": config.hidden_dim if i else ENCODED
        for chain, number in chains.items()
        for i in range(number)
    }


def passes_input(config: config_lib.ModelConfig, width: int) -> bool:
    """Whether a layer passes on its input because it is narrower, and applies theta afterwards."""
    return width < config.hidden_dim


def projections(config: config_lib.ModelConfig, width: int) -> list[int]:
    """Returns the widths of a layer's products: embedding, W_h, W_t and, unless separate, theta."""
    out = config.hidden_dim
    both = [config.embedding_hidden_dim, out, out]
    return both if passes_input(config, width) else [*both, out]


def head_widths(config: config_lib.ModelConfig, head: str) -> list[int]:
    """Returns the widths of a head from its first hidden layer to its outputs."""
    hidden, outputs = HEADS[head]
    return [*(config.decoder_dim >> i for i in range(hidden)), outputs]


def merge(
    weights: Mapping[str, np.ndarray], config: config_lib.ModelConfig
) -> dict[str, np.ndarray]:
    """Returns our arrays from weights by the reference's names, including the rotations."""
    arrays = {name: np.empty(shape) for name, shape in _shapes(config).items()}
    for part in parts(config):
        rows = weights[part.name]
        for name, index in part.pieces:
            piece = arrays[name][index]
            piece[...] = rows[: len(piece)]
            rows = rows[len(piece) :]
    dtype = next(iter(weights.values())).dtype
    fixed = {f"{layer}/{ROTATIONS}": weights[f"{layer}/lsh/codebook"] for layer in layers(config)}
    return {name: array.astype(dtype) for name, array in arrays.items()} | fixed


def split(
    arrays: Mapping[str, np.ndarray], config: config_lib.ModelConfig
) -> dict[str, np.ndarray]:
    """Returns arrays like ours (weights, gradients) by the reference's names, without rotations."""
    return {
        part.name: np.concatenate([arrays[name][index] for name, index in part.pieces])
        for part in parts(config)
    }


def parts(config: config_lib.ModelConfig) -> Iterator[Part]:
    """Yields every trainable weight of the reference once."""
    for layer, width in layers(config).items():
        yield from _layer_parts(config, layer, width)
    yield _part("output_dec/layernorm/gamma", "decoder/norm_scale")
    yield _part("output_dec/layernorm/beta", "decoder/norm_bias")
    columns_of_heads = columns([config.decoder_dim] * len(HEADS))
    for head, columns_of_head in zip(HEADS, columns_of_heads, strict=True):
        name = f"output_dec/ffn_{head}"
        pieces = _first_kernel(config, head, columns_of_head)
        yield Part(f"{name}/dense_0/kernel", tuple(pieces))
        yield _part(f"{name}/dense_0/bias", "decoder/bias", columns_of_head)
        for i in range(1, len(head_widths(config, head))):
            for kind in ("kernel", "bias"):
                yield _part(f"{name}/dense_{i}/{kind}", f"decoder/{head}/{kind}_{i}")


def columns(widths: Sequence[int]) -> list[slice]:
    """Returns the column ranges of adjacent pieces with these widths."""
    return [slice(*pair) for pair in itertools.pairwise([0, *itertools.accumulate(widths)])]


def _part(name: str, array: str, *index: int | slice) -> Part:
    return Part(name, ((array, index),))


def _layer_parts(config: config_lib.ModelConfig, layer: str, width: int) -> Iterator[Part]:
    hidden, own, gate, *values = columns(projections(config, width))
    merged = f"{layer}/projections"
    yield _part(f"{layer}/ffn_dist/dense_0/kernel", merged, _ALL, hidden)
    yield _part(f"{layer}/ffn_dist/dense_0/bias", f"{layer}/bias_hidden")
    yield _part(f"{layer}/ffn_dist/dense_1/kernel", f"{layer}/kernel_embedding")
    yield _part(f"{layer}/ffn_dist/dense_1/bias", f"{layer}/bias_embedding")
    yield _part(f"{layer}/msg_0/W_h", merged, _ALL, own)
    yield _part(f"{layer}/msg_0/W_t", merged, _ALL, gate)
    yield _part(f"{layer}/msg_0/b_t", f"{layer}/bias_gate")
    if values:
        yield _part(f"{layer}/msg_0/theta", merged, _ALL, values[0])
    else:
        yield _part(f"{layer}/msg_0/theta", f"{layer}/theta")


def _first_kernel(
    config: config_lib.ModelConfig, head: str, columns_of_head: slice
) -> Iterator[tuple[str, Index]]:
    """Yields the rows of a head's first kernel in the reference's order: logits and encodings of
    energies occur twice.
    """
    yield "decoder/kernel", (_ALL, columns_of_head)
    if head in ("id", "charge"):
        return
    of_logits = _shifted(columns_of_head, -2 * config.decoder_dim)
    yield "decoder/kernel_logits", (_ALL, of_logits)
    if head in ("eta", "phi"):
        return
    of_energies = _shifted(of_logits, -2 * config.decoder_dim)
    for rows in columns([config.hidden_dim] * config.num_energy_layers):
        for copy in range(2):
            yield "decoder/kernel_energies", (copy, rows, of_energies)
    yield "decoder/kernel_logits_again", (_ALL, of_energies)


def _shifted(piece: slice, by: int) -> slice:
    return slice(piece.start + by, piece.stop + by)


def _shapes(config: config_lib.ModelConfig) -> dict[str, tuple[int, ...]]:
    """Returns the shapes of our trainable arrays."""
    out, hidden, embedded = config.hidden_dim, config.embedding_hidden_dim, config.embedding_dim
    shapes: dict[str, tuple[int, ...]] = {}
    for layer, width in layers(config).items():
        shapes[f"{layer}/projections"] = (width, sum(projections(config, width)))
        shapes[f"{layer}/bias_hidden"] = (hidden,)
        shapes[f"{layer}/kernel_embedding"] = (hidden, embedded)
        shapes[f"{layer}/bias_embedding"] = (embedded,)
        shapes[f"{layer}/bias_gate"] = (out,)
        if passes_input(config, width):
            shapes[f"{layer}/theta"] = (width, out)
    decoded, first = ENCODED + config.num_id_layers * out, config.decoder_dim
    shapes["decoder/norm_scale"] = shapes["decoder/norm_bias"] = (decoded,)
    shapes["decoder/kernel"] = (decoded, 6 * first)
    shapes["decoder/bias"] = (6 * first,)
    shapes["decoder/kernel_logits"] = (NUM_CLASSES, 4 * first)
    shapes["decoder/kernel_logits_again"] = (NUM_CLASSES, 2 * first)
    shapes["decoder/kernel_energies"] = (2, config.num_energy_layers * out, 2 * first)
    for head in HEADS:
        for i, shape in enumerate(itertools.pairwise(head_widths(config, head)), start=1):
            shapes[f"decoder/{head}/kernel_{i}"] = shape
            shapes[f"decoder/{head}/bias_{i}"] = shape[1:]
    return shapes
