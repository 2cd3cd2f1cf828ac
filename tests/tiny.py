"""A network and events small enough to train within a test."""

import dataclasses
import functools
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

from mlpf_jax import config
from mlpf_jax.events import batch as batch_lib
from mlpf_jax.training import state

MODEL = config.ModelConfig(
    num_id_layers=2,
    num_energy_layers=2,
    bin_size=16,
    embedding_dim=8,
    embedding_hidden_dim=8,
    hidden_dim=8,
    decoder_dim=16,
)
NUM_ELEMENTS = 64
_create = state.create  # tests may put random_state in its place


def run_config(**train) -> config.RunConfig:
    """Returns a config of a tiny run on one device, two events per step."""
    settings = {"batch_size": 2, "num_epochs": 2} | train
    return config.RunConfig(
        model=MODEL,
        data=config.DataConfig(num_train_events=8, num_test_events=4, num_elements=NUM_ELEMENTS),
        train=config.TrainConfig(**settings),
        num_infer_samples=3,
    )


@dataclasses.dataclass(frozen=True)
class FakeEvent:
    """An event in the schema of the data set, not its physics."""

    elements: np.ndarray
    targets: np.ndarray


class FakeEvents:
    """Random events, each a pure function of its number.

    They have 40 to 79 elements, so that some are cut and most are padded, or the lengths given.
    """

    def __init__(self, seed: int = 0, lengths: Sequence[int] | None = None):
        self._seed = seed
        self._lengths = lengths

    @property
    def event_lengths(self) -> np.ndarray:
        """Of all, or of the first hundred."""
        if self._lengths is not None:
            return np.array(self._lengths)
        return np.array([len(self.event(index).elements) for index in range(100)])

    def event(self, index: int) -> FakeEvent:
        """Returns one event."""
        rng = np.random.default_rng([self._seed, index])
        size = int(rng.integers(40, 80))
        if self._lengths is not None:
            size = self._lengths[index]
        elements = rng.normal(size=(size, batch_lib.NUM_FEATURES)).astype(np.float32)
        elements[:, 0] = rng.integers(1, 3, size)
        targets = rng.normal(size=(size, batch_lib.NUM_TARGETS)).astype(np.float32)
        targets[:, 0] = rng.integers(0, 6, size)
        targets[targets[:, 0] == 0] = 0
        return FakeEvent(elements, targets)


def make_batch(num_devices: int, events_per_device: int, num_real: int | None = None):
    """Returns a batch of the first events."""
    shape = batch_lib.BatchShape(num_devices, events_per_device, NUM_ELEMENTS)
    number = shape.num_events if num_real is None else num_real
    return batch_lib.make_batch(FakeEvents(), np.arange(number), shape)


@functools.cache
def _abstract_state(run):
    return jax.eval_shape(functools.partial(_create, run), jax.random.key(0))


def random_state(run: config.RunConfig, seed: int = 0) -> state.TrainState:
    """Returns a state with random weights, biases included. Drawn by NumPy: the network's own
    initialisers take ten seconds to compile.
    """
    rng = np.random.default_rng(seed)
    abstract = _abstract_state(run)

    def fill(leaf):
        return jnp.asarray(0.2 * rng.normal(size=leaf.shape), leaf.dtype)

    params = jax.tree.map(fill, abstract.params)
    return state.TrainState(
        step=jnp.zeros((), jnp.int32),
        params=params,
        opt_state=state.optimizer(run.train).init(params),
        rotations=jax.tree.map(fill, abstract.rotations),
    )
