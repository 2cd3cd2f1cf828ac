"""The networks, weights and events for measurements of a step."""

import dataclasses
import functools
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from mlpf_jax import config as config_lib
from mlpf_jax.events import batch as batch_lib
from mlpf_jax.events import source
from mlpf_jax.measure import records, timing
from mlpf_jax.training import parallel, state, step

NETWORKS: dict[str, config_lib.ModelConfig] = {
    "published": config_lib.ModelConfig(),
    "small": config_lib.ModelConfig(
        num_id_layers=2,
        num_energy_layers=2,
        bin_size=64,
        embedding_dim=16,
        embedding_hidden_dim=16,
        hidden_dim=32,
        decoder_dim=32,
    ),
}


def run_config(
    network: str,
    batch_size: int,
    num_elements: int,
    *,
    events_at_once: int = 0,
    precision: config_lib.Precision = "float32",
    stacks_chains: bool = False,
) -> config_lib.RunConfig:
    """Returns the settings of a run on one device.

    Raises:
        ValueError: if they are impossible.
    """
    return config_lib.RunConfig(
        model=dataclasses.replace(NETWORKS[network], precision=precision),
        data=config_lib.DataConfig(num_elements=num_elements),
        train=config_lib.TrainConfig(
            batch_size=batch_size, events_at_once=events_at_once, stacks_chains=stacks_chains
        ),
    )


def simulated_batch(config: config_lib.RunConfig, data_dir: Path) -> batch_lib.EventBatch:
    """Returns the first ttbar events, with the device axis in front."""
    shape = batch_lib.BatchShape(
        config.num_devices, config.train.batch_size, config.data.num_elements
    )
    events = source.open_events(
        "ttbar", shape.num_events, data_dir=data_dir, data_seed=config.data.data_seed
    )
    return batch_lib.make_batch(events, np.arange(shape.num_events), shape)


def drawn_state(config: config_lib.RunConfig) -> state.TrainState:
    """Returns weights of about the size of the initial ones, drawn by NumPy.

    The network's own initialisers take ten seconds to compile, and times do not depend on them.
    """
    rng = np.random.default_rng(config.seed)
    abstract = state.shapes(config)

    def draw(path, leaf):
        if leaf.ndim >= 2:
            size = math.sqrt(2 / sum(leaf.shape[-2:]))  # as in Glorot initialisation
            return jnp.asarray(size * rng.normal(size=leaf.shape), leaf.dtype)
        fill = jnp.ones if "scale" in jax.tree_util.keystr(path) else jnp.zeros
        return fill(leaf.shape, leaf.dtype)

    params = jax.tree_util.tree_map_with_path(draw, abstract.params)
    return state.TrainState(
        step=jnp.zeros((), jnp.int32),
        params=params,
        opt_state=state.optimizer(config.train).init(params),
        rotations=jax.tree_util.tree_map_with_path(draw, abstract.rotations),
    )


@dataclasses.dataclass(frozen=True)
class Step:
    """A compiled step of the benchmark, with everything to call it repeatedly."""

    compiled: jax.stages.Compiled
    times: records.CompileTimes
    advance: Callable[[Any, Any], tuple[Any, Any]]  # (state, batch) -> (state, output)
    initial: Any
    batch: Any


def training_step(
    config: config_lib.RunConfig,
    initial: state.TrainState,
    batch: batch_lib.EventBatch,
    devices: Sequence[jax.Device] | None = None,
) -> Step:
    """Compiles the benchmark's training step, by default on the first local devices."""
    devices = devices or jax.local_devices()[: config.num_devices]
    spread = parallel.Devices(devices, config.parallel)
    on_device, placed = spread.replicate(initial), spread.split(batch)
    key = spread.replicate(jax.random.key(0))
    function = spread.spread_train_step(functools.partial(step.train_step, config))
    _, compiled, times = timing.compile_step(function, on_device, placed, key)

    def advance(current, batch):
        return compiled(current, batch, key)

    return Step(compiled, times, advance, on_device, placed)


def inference_step(
    config: config_lib.RunConfig, initial: state.TrainState, batch: batch_lib.EventBatch
) -> Step:
    """Compiles the benchmark's inference step on the first local devices."""
    spread = parallel.Devices(jax.local_devices()[: config.num_devices], config.parallel)
    on_device, placed = spread.replicate(initial), spread.split(batch)
    function = spread.spread_infer_step(functools.partial(step.infer_step, config))
    _, compiled, times = timing.compile_step(function, on_device, placed)
    return Step(compiled, times, lambda s, b: (s, compiled(s, b)), on_device, placed)
