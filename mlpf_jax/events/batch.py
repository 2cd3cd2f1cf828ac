"""Builds batches of fixed shape from ragged events, in a fixed order, by padding or truncation."""

import dataclasses
import math
from collections.abc import Iterator
from typing import Any, NamedTuple, Protocol, runtime_checkable

import jax
import numpy as np
from jaxtyping import Float, Int

Values = Any  # an array on the host or on devices, or its jax.ShapeDtypeStruct

NUM_FEATURES = 12
NUM_TARGETS = 7


class EventBatch(NamedTuple):
    """The input of a step; the first axis is the device axis.

    Padding elements are rows of zeros. Events of weight 0 are padding too: they fill up a shorter
    last batch with zeros, and count neither in the loss nor in the throughput.
    """

    elements: Float[Values, "*devices events elements features"]
    targets: Float[Values, "*devices events elements 7"]
    weight: Float[Values, "*devices events"]


@runtime_checkable
class Event(Protocol):
    """One collision, with one row per element."""

    @property
    def elements(self) -> Float[np.ndarray, "elements 12"]: ...
    @property
    def targets(self) -> Float[np.ndarray, "elements 7"]: ...


@runtime_checkable
class Events(Protocol):
    """Events by index."""

    def event(self, index: int) -> Event: ...


@dataclasses.dataclass(frozen=True)
class BatchShape:
    """The shape of all batches of a run."""

    num_devices: int
    events_per_device: int
    num_elements: int

    @property
    def num_events(self) -> int:
        """Number of events in a full batch on all devices."""
        return self.num_devices * self.events_per_device

    @property
    def num_bytes(self) -> int:
        """Size of a batch on all devices, without its weights."""
        return 4 * self.num_events * self.num_elements * (NUM_FEATURES + NUM_TARGETS)


def abstract_batch(*leading: int, num_elements: int) -> EventBatch:
    """Returns an abstract float32 batch with the given `leading` axes, for lowering a step."""

    def values(*trailing):
        return jax.ShapeDtypeStruct((*leading, *trailing), np.float32)

    return EventBatch(
        values(num_elements, NUM_FEATURES), values(num_elements, NUM_TARGETS), values()
    )


def make_batch(events: Events, indices: Int[np.ndarray, " taken"], shape: BatchShape) -> EventBatch:
    """Pads or truncates the given events and distributes them over the devices, in order.

    A batch with fewer events is filled up at the end with events of weight 0.
    """
    refuse_too_many(indices, shape)
    rows = (shape.num_events, shape.num_elements)
    elements = np.zeros((*rows, NUM_FEATURES), np.float32)
    targets = np.zeros((*rows, NUM_TARGETS), np.float32)
    weight = np.zeros(shape.num_events, np.float32)
    for place, index in enumerate(indices):
        event = events.event(int(index))
        kept = min(len(event.elements), shape.num_elements)
        elements[place, :kept] = event.elements[:kept]
        targets[place, :kept] = event.targets[:kept]
        weight[place] = 1

    def over_devices(values):
        return values.reshape(shape.num_devices, shape.events_per_device, *values.shape[1:])

    return EventBatch(over_devices(elements), over_devices(targets), over_devices(weight))


def rows_per_device(batch: Any) -> int:
    """Returns the number of rows of a batch on each device, including padding."""
    return math.prod(batch.elements.shape[1:-1])


def refuse_too_many(indices: Int[np.ndarray, " taken"], shape: BatchShape) -> None:
    """Raises a ValueError if there are more events than fit a batch."""
    if len(indices) > shape.num_events:
        raise ValueError(f"{len(indices)} events do not fit a batch of {shape.num_events}.")


def batch_indices(
    order: Int[np.ndarray, " events"], batch_size: int
) -> Iterator[Int[np.ndarray, " taken"]]:
    """Splits a sequence of events into batches; the last one may be shorter."""
    for start in range(0, len(order), batch_size):
        yield order[start : start + batch_size]
