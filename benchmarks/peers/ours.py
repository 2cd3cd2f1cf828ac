"""This project as a contender: the benchmark's steps, on one device, compiled ahead of time.

Padding is full here, as for all peers; `ours_tight` skips empty bins.
"""

import functools
import importlib.metadata
import platform
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.peers import contender as contender_lib
from benchmarks.peers import workload as workload_lib
from mlpf_jax import config as config_lib
from mlpf_jax import progress
from mlpf_jax.events import batch as batch_lib
from mlpf_jax.events import ragged
from mlpf_jax.measure import memory
from mlpf_jax.run import programs
from mlpf_jax.training import parallel, state, step
from mlpf_jax.verify import golden


class Ours:
    """The network, its optimiser and the two steps."""

    padding: config_lib.Padding = "full"

    def __init__(self, workload: workload_lib.Workload, device: contender_lib.Device):
        _, num_events, num_elements, _ = workload.elements.shape
        self._config = config_lib.RunConfig(
            model=workload.model,
            data=config_lib.DataConfig(num_elements=num_elements, padding=self.padding),
            train=workload.train,
        )
        if workload.train.batch_size != num_events:
            raise ValueError(
                f"{workload.train.batch_size} events per batch, but only {num_events} exist."
            )
        params, rotations = golden.variables_from_weights(workload.weights, workload.model)
        self._devices = parallel.Devices(
            jax.local_devices(backend=device)[:1], self._config.parallel
        )
        start = state.TrainState(
            step=jnp.zeros((), jnp.int32),
            params=params,
            opt_state=state.optimizer(workload.train).init(jax.tree.map(jnp.asarray, params)),
            rotations=rotations,
        )
        self._state = self._devices.replicate(start)
        self._key = self._devices.replicate(jax.random.key(0))

    def put(self, elements: np.ndarray, targets: np.ndarray) -> Any:
        return jax.block_until_ready(self._devices.split(self._laid_out(elements, targets)))

    def train(self, batch: Any) -> step.StepSums:
        self._state, sums = self._train_step(self._state, batch, self._key)
        return sums

    def infer(self, batch: Any) -> step.StepSums:
        return self._infer_step(self._state, batch)

    def wait(self, sums: step.StepSums) -> None:
        jax.block_until_ready((self._state, sums))

    def fetch(self, sums: step.StepSums) -> tuple[dict[str, float], np.ndarray]:
        losses = {name: float(loss) for name, loss in sums.mean_losses().items()}
        return losses, np.asarray(sums.counts)

    def peak_bytes(self) -> int | None:
        return memory.peak_bytes(self._devices.devices[0])

    def versions(self) -> dict[str, str]:
        packages = ("jax", "jaxlib", "flax", "numpy")
        versions = {package: importlib.metadata.version(package) for package in packages}
        return {"python": platform.python_version()} | versions

    @functools.cached_property
    def _train_step(self) -> programs.Programs:
        function = functools.partial(step.train_step, self._config)
        return self._compiled("training", self._devices.spread_train_step(function), (self._key,))

    @functools.cached_property
    def _infer_step(self) -> programs.Programs:
        function = functools.partial(step.infer_step, self._config)
        return self._compiled("inference", self._devices.spread_infer_step(function), ())

    def _compiled(self, name, function, rest) -> programs.Programs:
        silent = progress.Progress(quiet=True)
        examples = self._batch_of_each_length()
        return programs.compile_step(name, function, examples, (self._state, rest), silent)

    def _laid_out(self, elements: np.ndarray, targets: np.ndarray) -> ragged.AnyBatch:
        batch = batch_lib.EventBatch(elements, targets, np.ones(len(elements), np.float32))
        return jax.tree.map(lambda x: x[None], batch)

    def _batch_of_each_length(self) -> Sequence[ragged.AnyBatch]:
        size, num_elements = self._config.train.batch_size, self._config.data.num_elements
        return [batch_lib.abstract_batch(1, size, num_elements=num_elements)]


def build(
    workload: workload_lib.Workload,
    *,
    num_threads: int,
    compiled: bool,
    device: contender_lib.Device = "cpu",
) -> Ours:
    """Returns the contender. XLA uses one thread per available core."""
    del num_threads, compiled
    return Ours(workload, device)
