"""The setup that all phases of a run share: the configuration, and how batches are made."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any, cast

import numpy as np
from jaxtyping import Int

from mlpf_jax import config as config_lib
from mlpf_jax import progress as progress_lib
from mlpf_jax import stopping
from mlpf_jax.events import batch as batch_lib
from mlpf_jax.events import ragged
from mlpf_jax.hosts import windows as windows_lib
from mlpf_jax.measure import timing
from mlpf_jax.telemetry import recorder as recorder_lib

# The shortest sample: long compared with dispatch latency and noise of the machine.
_SHORTEST_SAMPLE_S = {"cpu": 1.0}
_SHORTEST_SAMPLE_ON_ACCELERATOR_S = 0.2
_SHARE_OF_TRAINING = 8  # a sample on an accelerator has no more than this part of the steps
_BYTES_AHEAD = 512 * 2**20  # limit for batches waiting on the devices


def bytes_beside_step(config: config_lib.RunConfig) -> int:
    """Returns what lies on a device beside a training step, at most.

    That is all test events, the batches of a sample, those that wait and one that is on its way;
    the step's plan has one of them.
    """
    data, batch_size = config.data, config.train.batch_size
    shape = batch_lib.BatchShape(config.num_devices, batch_size, data.num_elements)
    num_batches = 2 * _batches_ahead(shape) + -(-data.num_test_events // shape.num_events)
    return num_batches * shape.num_bytes // shape.num_devices


def _batches_ahead(shape: batch_lib.BatchShape) -> int:
    return min(max(2, _BYTES_AHEAD // shape.num_bytes), 1024)


@dataclasses.dataclass(frozen=True)
class Setup:
    """The setup that both phases share."""

    config: config_lib.RunConfig
    platform: str
    put: Callable[[ragged.AnyBatch], Any]  # onto the devices
    progress: progress_lib.Progress
    recorder: recorder_lib.Recorder
    stop: stopping.Stop
    # Of a run on several processes: the places of the devices of this one among all.
    own: Sequence[int] | None = None
    windows: windows_lib.Windows | None = None  # likewise

    @property
    def num_own(self) -> int:
        """Number of devices of this process."""
        return self.config.num_devices if self.own is None else len(self.own)

    @property
    def shape(self) -> batch_lib.BatchShape:
        """The shape of this process' part of every batch."""
        config = self.config
        return batch_lib.BatchShape(self.num_own, config.train.batch_size, config.data.num_elements)

    @property
    def packing(self) -> ragged.Packing:
        """The packing of every batch, for tight padding."""
        return ragged.Packing(self.shape, self.config.model.bin_size)

    def make_batch(
        self, events: batch_lib.Events, indices: Int[np.ndarray, " taken"]
    ) -> ragged.AnyBatch:
        """Builds this process' part of a batch of the given events, padded as the run says."""
        if self.config.data.padding == "tight":
            return self.packing.make_batch(events, indices)
        each = self.config.train.batch_size
        mine = indices
        if self.own is not None:
            mine = np.concatenate([indices[i * each : (i + 1) * each] for i in self.own])
        return batch_lib.make_batch(events, mine, self.shape)

    def num_elements(
        self, events: batch_lib.Events, indices: Int[np.ndarray, " taken"]
    ) -> int | None:
        """Returns the elements of the given events; None if all of them are in this process."""
        if self.windows is None:
            return None
        lengths = np.asarray(cast(ragged.SizedEvents, events).event_lengths)[indices]
        return int(np.minimum(lengths, self.config.data.num_elements).sum())

    @property
    def own_s(self) -> float | None:
        """What this process took in the last window; None if there are no others."""
        return None if self.windows is None else self.windows.own_s

    @property
    def batches_ahead(self) -> int:
        """Maximum number of batches waiting on the devices, and of batches in one sample."""
        return _batches_ahead(self.shape)

    @property
    def waits_each(self) -> bool:
        """Whether to wait for every step. Virtual devices share the threads of one CPU, so with
        many steps in flight their all-reduces would deadlock.
        """
        return self.platform == "cpu" and self.config.num_devices > 1

    def steps_per_sample(self, step_s: float) -> int:
        """Returns the number of steps of a sample, for steps of `step_s` seconds."""
        shortest = _SHORTEST_SAMPLE_S.get(self.platform, _SHORTEST_SAMPLE_ON_ACCELERATOR_S)
        number = min(timing.steps_per_sample(step_s, shortest), self.batches_ahead)
        return number if self.windows is None else self.windows.agree(number)

    def steps_per_training_sample(self, step_s: float) -> int:
        """Returns that number for training.

        An accelerator can end the preset site in less than a second. Its samples are shorter then:
        with fewer than six of them, the score would have no interval.
        """
        number = self.steps_per_sample(step_s)
        if self.platform == "cpu":
            return number
        return min(number, max(1, sum(self.config.steps_by_epoch) // _SHARE_OF_TRAINING))
