"""Builds batches without empty bins, for `--padding=tight`.

Padding is sorted after all elements, so the last bins of an event are often empty and can be
skipped. Here an event has only as many bins as its elements fill, and the events of one device form
one list of rows. A compiled program has a fixed length in bins, its *capacity*. There are a few
capacities, and a batch uses the smallest one that fits the events of every device.
"""

import dataclasses
import functools
from typing import Any, Protocol, runtime_checkable

import jax
import numpy as np
from jaxtyping import Int

from mlpf_jax.events import batch as batch_lib

_MOST_CAPACITIES = 20  # each is a program to compile; more programs would mean less padding


@functools.partial(
    jax.tree_util.register_dataclass,
    data_fields=["elements", "targets", "event", "weight"],
    meta_fields=["num_elements"],
)
@dataclasses.dataclass(frozen=True)
class RaggedBatch:
    """The input of a step; the first axis is the device axis.

    The rows of an event are contiguous and fill whole bins, elements first. Rows without an event
    are at the end. Events of weight 0, in a shorter last batch, have no rows. The arrays are on the
    host or on devices, or tracers.
    """

    elements: Any  # float32 (*devices, rows, 12); padding is rows of zeros
    targets: Any  # float32 (*devices, rows, 7)
    event: Any  # int32 (*devices, rows): the event's number; num_events: no event
    weight: Any  # float32 (*devices, events)
    num_elements: int  # rows of a fully padded event, over which the loss averages


AnyBatch = batch_lib.EventBatch | RaggedBatch


@runtime_checkable
class SizedEvents(batch_lib.Events, Protocol):
    """Events with lengths that are known without reading them."""

    @property
    def event_lengths(self) -> Int[np.ndarray, " events"]: ...


@dataclasses.dataclass(frozen=True)
class Packing:
    """The packing of the batches of a run."""

    shape: batch_lib.BatchShape
    bin_size: int

    @property
    def full_capacity(self) -> int:
        """Number of bins of a device's events when fully padded."""
        return self.shape.events_per_device * self.shape.num_elements // self.bin_size

    def num_bins(self, lengths: Int[np.ndarray, " events"]) -> Int[np.ndarray, " events"]:
        """Returns the number of bins of each event, after truncation."""
        return -(-np.minimum(lengths, self.shape.num_elements) // self.bin_size)

    def capacity(self, lengths: Int[np.ndarray, " events"]) -> int:
        """Returns the capacity for a batch of the given events, in bins."""
        missing = self.shape.num_events - len(lengths)
        needed = np.pad(self.num_bins(lengths), (0, missing))
        fullest = int(needed.reshape(self.shape.num_devices, -1).sum(axis=-1).max())
        step = -(-self.full_capacity // _MOST_CAPACITIES)
        return min(max(1, -(-fullest // step)) * step, self.full_capacity)

    def empty(self, capacity: int) -> RaggedBatch:
        """Returns a batch without elements, with events of weight 1."""
        rows = (self.shape.num_devices, capacity * self.bin_size)
        num_events = self.shape.events_per_device
        return RaggedBatch(
            elements=np.zeros((*rows, batch_lib.NUM_FEATURES), np.float32),
            targets=np.zeros((*rows, batch_lib.NUM_TARGETS), np.float32),
            event=np.full(rows, num_events, np.int32),
            weight=np.ones((self.shape.num_devices, num_events), np.float32),
            num_elements=self.shape.num_elements,
        )

    def make_batch(
        self, events: batch_lib.Events, indices: Int[np.ndarray, " taken"]
    ) -> RaggedBatch:
        """Packs the given events, truncated to `num_elements`, and distributes them to devices.

        Raises:
            ValueError: if there are more events than fit a batch.
        """
        batch_lib.refuse_too_many(indices, self.shape)
        taken = [events.event(int(index)) for index in indices]
        lengths = np.array([len(event.elements) for event in taken], np.int64)
        num_rows = self.num_bins(lengths) * self.bin_size
        batch = self.empty(self.capacity(lengths))
        batch.weight[:] = 0
        next_row = [0] * self.shape.num_devices
        for place, event in enumerate(taken):
            device, number = divmod(place, self.shape.events_per_device)
            start = next_row[device]
            next_row[device] += int(num_rows[place])
            kept = min(len(event.elements), self.shape.num_elements)
            batch.elements[device, start : start + kept] = event.elements[:kept]
            batch.targets[device, start : start + kept] = event.targets[:kept]
            batch.event[device, start : next_row[device]] = number
            batch.weight[device, number] = 1
        return batch
