"""Makes the workload of all contenders from simulated events and our initial weights."""

import hashlib
from pathlib import Path

import jax
import numpy as np

from benchmarks.peers import layout
from benchmarks.peers import workload as workload_lib
from mlpf_jax import config as config_lib
from mlpf_jax.events import batch as batch_lib
from mlpf_jax.events import source
from mlpf_jax.training import state
from mlpf_jax.verify import golden


def make(config: config_lib.RunConfig, num_batches: int, data_dir: Path) -> workload_lib.Workload:
    """Returns the first ttbar events in batches, padded as the benchmark pads, and the weights.

    Raises:
        ValueError: if the events at `data_dir` do not match the arguments.
        OSError: if they cannot be read or written.
    """
    size = config.train.batch_size
    number = num_batches * size
    seed = config.data.data_seed
    events = source.open_events("ttbar", number, data_dir=data_dir, data_seed=seed)
    shape = batch_lib.BatchShape(1, size, config.data.num_elements)
    batches = [
        batch_lib.make_batch(events, indices, shape)
        for indices in batch_lib.batch_indices(np.arange(number), size)
    ]
    created = state.create(config, jax.random.key(config.seed))
    return workload_lib.Workload(
        model=config.model,
        train=config.train,
        weights=reference_weights(created, config.model),
        elements=np.stack([batch.elements[0] for batch in batches]),
        targets=np.stack([batch.targets[0] for batch in batches]),
    )


def sha256(workload: workload_lib.Workload) -> str:
    """Returns the SHA-256 of the events' bytes as given to contenders."""
    digest = hashlib.sha256(workload.elements.tobytes())
    digest.update(workload.targets.tobytes())
    return digest.hexdigest()


def reference_weights(
    created: state.TrainState, model: config_lib.ModelConfig
) -> dict[str, np.ndarray]:
    """Returns the weights under the reference's names, including the fixed rotations."""
    weights = golden.weights_from_params(created.params, model)
    for layer, values in created.rotations["encoder"].items():
        for name, rotations in golden.unstack(layer, values[layout.ROTATIONS], model).items():
            weights[f"{name}/lsh/codebook"] = rotations
    return weights
