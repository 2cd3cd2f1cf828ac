"""Events -> batches without the bins that hold no element: what `--padding=tight` computes on.

Padding sorts behind all elements, so an event's last bins are often empty, and nothing depends on
them. Here an event has as many bins as its elements fill, and the events of one device are one
list of rows. A compiled program has a fixed length, its *capacity*, in bins; there are few of
them, and a batch takes the smallest that holds the fullest device's events.
"""

import dataclasses
import functools
from typing import Any, Protocol, runtime_checkable

import jax
import numpy as np
from jaxtyping import Int

from mlpf_jax.events import batch as batch_lib

_MOST_CAPACITIES = 20  # each is a program to compile; more of them would leave less padding


@functools.partial(
    jax.tree_util.register_dataclass,
    data_fields=["elements", "targets", "event", "weight"],
    meta_fields=["num_elements"],
)
@dataclasses.dataclass(frozen=True)
class RaggedBatch:
    """Events as a step takes them; the first axis is that of the devices.

    An event's rows stand together, whole bins of them, its elements first. Rows that belong to no
    event are at the end. An event of weight 0, in a batch that is shorter than the others, has no
    row. Arrays on the host or on devices, or tracers of them.
    """

    elements: Any  # float32 (*devices, rows, 12); padding is rows of zeros
    targets: Any  # float32 (*devices, rows, 7)
    event: Any  # int32 (*devices, rows): its number on the device; num_events where there is none
    weight: Any  # float32 (*devices, events)
    num_elements: int  # of an event padded in full: what its loss is a mean over


AnyBatch = batch_lib.EventBatch | RaggedBatch


@runtime_checkable
class SizedEvents(batch_lib.Events, Protocol):
    """Events whose lengths are known without reading them."""

    @property
    def event_lengths(self) -> Int[np.ndarray, " events"]: ...


@dataclasses.dataclass(frozen=True)
class Packing:
    """How the batches of a run are packed."""

    shape: batch_lib.BatchShape
    bin_size: int

    @property
    def full_capacity(self) -> int:
        """Bins of a device's events, padded in full."""
        return self.shape.events_per_device * self.shape.num_elements // self.bin_size

    def num_bins(self, lengths: Int[np.ndarray, " events"]) -> Int[np.ndarray, " events"]:
        """Returns in how many bins the elements of each event are, after cutting."""
        return -(-np.minimum(lengths, self.shape.num_elements) // self.bin_size)

    def capacity(self, lengths: Int[np.ndarray, " events"]) -> int:
        """Returns the capacity that a batch of those events takes, in bins."""
        missing = self.shape.num_events - len(lengths)
        needed = np.pad(self.num_bins(lengths), (0, missing))
        fullest = int(needed.reshape(self.shape.num_devices, -1).sum(axis=-1).max())
        step = -(-self.full_capacity // _MOST_CAPACITIES)
        return min(max(1, -(-fullest // step)) * step, self.full_capacity)

    def empty(self, capacity: int) -> RaggedBatch:
        """Returns a batch without any element, all of whose events have weight 1."""
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
        """Packs the named events, cut to `num_elements`, and lays them out over the devices.

        Raises:
            ValueError: if they are more than a batch takes.
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
