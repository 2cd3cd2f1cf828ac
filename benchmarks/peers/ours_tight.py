"""This project as a contender with `--padding=tight`, which skips empty bins.

The peers compute all places, so this shows the cost of empty bins, not which framework is faster.
"""

import dataclasses
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from benchmarks.peers import contender as contender_lib
from benchmarks.peers import ours
from benchmarks.peers import workload as workload_lib
from mlpf_jax import config as config_lib
from mlpf_jax.events import batch as batch_lib
from mlpf_jax.events import ragged


class _Event(NamedTuple):
    elements: np.ndarray  # (elements, 12), without padding
    targets: np.ndarray  # (elements, 7)


class _Padded:
    """The fully padded events of a batch on disk, in the form that `Packing` reads."""

    def __init__(self, elements: np.ndarray, targets: np.ndarray):
        self._padded = elements, targets
        self._lengths = np.count_nonzero(elements[..., 0], axis=-1)

    def event(self, index: int) -> _Event:
        return _Event(*(rows[index, : self._lengths[index]] for rows in self._padded))


class OursTight(ours.Ours):
    """The same network and steps; a batch is one list of the non-empty bins."""

    padding: config_lib.Padding = "tight"

    def __init__(self, workload: workload_lib.Workload, device: contender_lib.Device):
        train = dataclasses.replace(workload.train, events_at_once=0)
        super().__init__(dataclasses.replace(workload, train=train), device)
        _, size, num_elements, _ = workload.elements.shape
        shape = batch_lib.BatchShape(1, size, num_elements)
        self._packing = ragged.Packing(shape, workload.model.bin_size)
        lengths = np.count_nonzero(workload.elements[..., 0], axis=-1)  # [batches, events]
        self._capacities = sorted({self._packing.capacity(of_batch) for of_batch in lengths})

    def _laid_out(self, elements: np.ndarray, targets: np.ndarray) -> ragged.AnyBatch:
        return self._packing.make_batch(_Padded(elements, targets), np.arange(len(elements)))

    def _batch_of_each_length(self) -> Sequence[ragged.AnyBatch]:
        return [self._packing.empty(capacity) for capacity in self._capacities]


def build(
    workload: workload_lib.Workload,
    *,
    num_threads: int,
    compiled: bool,
    device: contender_lib.Device = "cpu",
) -> OursTight:
    """Returns the contender. XLA uses one thread per available core."""
    del num_threads, compiled
    return OursTight(workload, device)
