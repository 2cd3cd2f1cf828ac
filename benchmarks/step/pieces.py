"""The parts of a step in isolation: functions, arguments, and work by shapes.

The work is counted from shapes only: operations of matrix products, with two per multiply-add, and
bytes that must be read and written if intermediates never leave the caches. Both are lower limits
for a part; XLA's own counts are given for comparison.
"""

import dataclasses
import functools
import itertools
from collections.abc import Callable, Iterator
from typing import Any, cast

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import PyTree

from mlpf_jax import config as config_lib
from mlpf_jax.events import batch as batch_lib
from mlpf_jax.model import layers, loss, lsh, message_passing, pfnet
from mlpf_jax.training import state as state_lib


@dataclasses.dataclass(frozen=True)
class Piece:
    """One part: a function and its arguments, with differentiated arguments first."""

    name: str
    function: Callable[..., Any]
    arguments: tuple[Any, ...]
    flops: float  # of the forward pass, products alone
    num_in_step: int  # occurrences in one step
    num_with_gradient: int = 1  # leading arguments that a gradient is taken of; 0: no backward pass
    flops_without_gradient: float = 0.0  # of the forward pass; the others count twice backward

    @property
    def flops_with_backward(self) -> float:
        """Operations of forward and backward pass."""
        return self.flops + 2 * (self.flops - self.flops_without_gradient)

    def forward(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        """Returns the function and its arguments."""
        return self.function, self.arguments

    def forward_and_backward(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        """Returns the function with its gradients, pulled back from ones, and its arguments."""
        number = self.num_with_gradient

        def both(cotangent, *arguments):
            given, fixed = arguments[:number], arguments[number:]
            value, pull_back = jax.vjp(lambda *given: self.function(*given, *fixed), *given)
            return value, pull_back(cotangent)

        shapes = jax.eval_shape(self.function, *self.arguments)
        ones = jax.tree.map(lambda leaf: jnp.ones(leaf.shape, leaf.dtype), shapes)
        return both, (ones, *self.arguments)


def num_bytes(function: Callable[..., Any], arguments: tuple[Any, ...]) -> int:
    """Returns the bytes of all arguments and results."""
    leaves = jax.tree.leaves((arguments, jax.eval_shape(function, *arguments)))
    return sum(leaf.size * leaf.dtype.itemsize for leaf in leaves)


def ffn_flops(num_rows: int, widths: list[int]) -> float:
    """Returns the operations of dense layers in a row; `widths` begin with the input's."""
    return sum(2.0 * num_rows * a * b for a, b in itertools.pairwise(widths))


def make(
    config: config_lib.RunConfig, state: state_lib.TrainState, batch: batch_lib.EventBatch
) -> Iterator[Piece]:
    """Yields the parts for a batch without device axis, in the order of a step.

    Both chains of layers are one in the program; here a layer is one of one chain.
    """
    model = config.model
    rng = np.random.default_rng(config.seed)
    elements = jnp.asarray(batch.elements)
    mask = pfnet.real_elements(elements)
    sizes = _Sizes(config)

    def drawn(*shape):
        return jnp.asarray(rng.normal(size=shape), jnp.float32)

    rows, real = elements.reshape(-1, elements.shape[-1]), mask.reshape(-1)
    later = jnp.where(real[:, None], drawn(sizes.num_rows, model.hidden_dim), 0)
    yield from _binning(sizes, mask, drawn)
    yield from _inside_bins(sizes, mask, drawn)
    encoded = pfnet.encode(rows, real)
    for name, x, number in (
        ("graph layer, first", encoded, 2),
        ("graph layer, later", later, sizes.num_layers - 2),
    ):
        yield _graph_layer(sizes, name, x, mask, number, drawn)
    yield from _ends(sizes, state, rows, real, later, batch)
    yield _optimiser(config, state)


class _Sizes:
    """The shapes of a step."""

    def __init__(self, config: config_lib.RunConfig):
        self.model = config.model
        self.num_events = config.train.batch_size
        self.num_elements = config.data.num_elements
        self.num_rows = self.num_events * self.num_elements
        self.num_bins = self.num_elements // config.model.bin_size
        self.num_layers = config.model.num_id_layers + config.model.num_energy_layers
        self.bins = (self.num_events, self.num_bins, config.model.bin_size)

    def pairs_flops(self, dim: int) -> float:
        """Returns the operations of a product with the pairs of every bin."""
        return 2.0 * self.num_rows * self.model.bin_size * dim

    def messages_flops(self, width: int) -> float:
        """Returns the operations of message passing: distances, degrees and the exchange."""
        return self.symmetric_flops() + self.pairs_flops(width)

    def symmetric_flops(self) -> float:
        """Returns those of its operations whose gradient is one product, not two."""
        return self.pairs_flops(self.model.embedding_dim) + self.pairs_flops(1)

    def hash_flops(self) -> float:
        """Returns the operations of the rotation, of which only so many columns are needed."""
        return 2.0 * self.num_rows * self.model.embedding_dim * (self.num_bins // 2)

    def layer_flops(self, width: int) -> float:
        """Returns the operations of a graph layer."""
        model = self.model
        embedding = [width, model.embedding_hidden_dim, model.embedding_dim]
        return (
            ffn_flops(self.num_rows, embedding)
            + self.hash_flops()
            + self.messages_flops(min(width, model.hidden_dim))
            + 6.0 * self.num_rows * width * model.hidden_dim
        )

    def decoder_flops(self) -> float:
        """Returns the operations of the six heads; inputs that stand twice are multiplied once."""
        model, classes = self.model, pfnet.NUM_CLASSES
        features = pfnet.NUM_ELEMENT_TYPES + pfnet.NUM_FEATURES - 1
        decoded = features + model.num_id_layers * model.hidden_dim
        wide = decoded + classes + model.num_energy_layers * model.hidden_dim
        heads = (
            (decoded, 4, classes),
            (decoded, 2, 1),
            (decoded + classes, 3, 2),
            (decoded + classes, 3, 4),
            (wide, 3, classes),
            (wide, 3, 2),
        )
        return sum(
            ffn_flops(
                self.num_rows, [width, *(model.decoder_dim >> i for i in range(hidden)), outputs]
            )
            for width, hidden, outputs in heads
        )


def _binning(sizes, mask, drawn) -> Iterator[Piece]:
    model = sizes.model
    embedding = drawn(*mask.shape, model.embedding_dim)
    rotations = drawn(model.embedding_dim, model.max_num_bins // 2)

    def sort(embedding, mask, rotations):
        return lsh.sort_by_hash(lsh.hash_elements(embedding, mask, rotations, sizes.num_bins))

    yield Piece(
        "binning: hash and sort",
        sort,
        (embedding, mask, rotations),
        sizes.hash_flops(),
        sizes.num_layers,
        num_with_gradient=0,
    )
    order, inverse = jax.jit(sort)(embedding, mask, rotations)

    def there_and_back(x, order, inverse):
        return lsh.permute(lsh.permute(x, order, inverse), inverse, order)

    yield Piece(
        "gather into bins and back",
        there_and_back,
        (drawn(*mask.shape, model.hidden_dim), order, inverse),
        0.0,
        sizes.num_layers,
    )


def _inside_bins(sizes, mask, drawn) -> Iterator[Piece]:
    model = sizes.model
    embedding = drawn(*sizes.bins, model.embedding_dim)
    scale, precision = model.distance_scale, model.precision
    yield Piece(
        "adjacency",
        functools.partial(message_passing.pair_adjacency, scale=scale, precision=precision),
        (embedding,),
        sizes.pairs_flops(model.embedding_dim),
        sizes.num_layers,
    )

    def passed(embedding, values, real):
        return message_passing.pass_messages(embedding, values, real, scale, precision)

    yield Piece(
        "message passing",
        passed,
        (embedding, drawn(*sizes.bins, model.hidden_dim), mask.reshape(sizes.bins)),
        sizes.messages_flops(model.hidden_dim),
        sizes.num_layers,
        num_with_gradient=2,
        flops_without_gradient=sizes.symmetric_flops() / 2,
    )


def _graph_layer(sizes, name, x, mask, number, drawn) -> Piece:
    declared = layers.GraphLayerWeights(sizes.model, x.shape[-1])
    variables = dict(_weights(declared, drawn))
    rotations = {"rotations": variables.pop("rotations")}

    def apply(variables, x, rotations, mask):
        layer = cast(layers.GraphLayer, declared.apply(variables | rotations))
        return layers.graph_layer(layer, x, mask, sizes.model)[0]

    return Piece(
        name,
        apply,
        (variables, x, rotations, mask),
        sizes.layer_flops(x.shape[-1]),
        number,
        num_with_gradient=2,
        flops_without_gradient=sizes.hash_flops() + sizes.symmetric_flops() / 2,
    )


def _ends(sizes, state, rows, real, later, batch) -> Iterator[Piece]:
    model = sizes.model
    decoder = pfnet.Decoder(model)
    encoded = pfnet.encode(rows, real)
    decoded = jnp.concatenate([encoded, *[later] * model.num_id_layers], axis=-1)
    # Arrays of their own: equal ones would be multiplied once.
    energy = [later + i for i in range(model.num_energy_layers)]

    def heads(params, decoded, energy, rows, real):
        return decoder.apply({"params": params}, rows, real, decoded, energy)

    params = jax.tree.map(jnp.asarray, state.params["decoder"])
    arguments = (params, decoded, energy, rows, real)
    yield Piece("heads", heads, arguments, sizes.decoder_flops(), 1, num_with_gradient=3)
    mask = real.reshape(sizes.num_events, -1)
    candidates = jax.jit(heads)(*arguments).in_events(sizes.num_events)
    targets = loss.split_targets(jnp.asarray(batch.targets))

    def total(candidates, targets, mask):
        return jnp.sum(loss.total(loss.event_losses(candidates, targets, mask)))

    yield Piece("loss", total, (candidates, targets, mask), 0.0, 1)


def _optimiser(config, state) -> Piece:
    optimizer = state_lib.optimizer(config.train)
    params = jax.tree.map(jnp.asarray, state.params)

    def update(gradients, opt_state, params):
        updates, new = optimizer.update(gradients, opt_state, params)
        return optax.apply_updates(params, updates), new

    opt_state = jax.tree.map(jnp.asarray, state.opt_state)
    return Piece("optimiser", update, (params, opt_state, params), 0.0, 1, num_with_gradient=0)


def _weights(module, drawn, *arguments) -> PyTree:
    """Draws small weights of a module: its own initialisers take long to compile."""
    rngs = {name: jax.random.key(0) for name in ("params", "rotations")}
    shapes = jax.eval_shape(module.init, rngs, *arguments)
    shapes = {name: shapes[name] for name in ("params", "rotations") if name in shapes}
    return jax.tree.map(lambda leaf: 0.05 * drawn(*leaf.shape), shapes)
