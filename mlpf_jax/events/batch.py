"""Ragged events -> batches of fixed shape, in a fixed order, each event padded or cut."""

import dataclasses
import math
from collections.abc import Iterator
from typing import Any, NamedTuple, Protocol, runtime_checkable

import jax
import numpy as np
from jaxtyping import Float, Int

Values = Any  # an array on the host or on devices, or the plan of one (jax.ShapeDtypeStruct)

NUM_FEATURES = 12
NUM_TARGETS = 7


class EventBatch(NamedTuple):
    """Events as a step takes them; the first axis is that of the devices.

    Padding elements are rows of zeros. An event of weight 0 is padding, too: all zeros, in a last
    batch that is shorter than the others; it counts neither in a loss nor in the throughput.
    """

    elements: Float[Values, "*devices events elements features"]
    targets: Float[Values, "*devices events elements 7"]
    weight: Float[Values, "*devices events"]


@runtime_checkable
class Event(Protocol):
    """One collision: as many rows as it has elements."""

    @property
    def elements(self) -> Float[np.ndarray, "elements 12"]: ...
    @property
    def targets(self) -> Float[np.ndarray, "elements 7"]: ...


@runtime_checkable
class Events(Protocol):
    """Where events come from, by number."""

    def event(self, index: int) -> Event: ...


@dataclasses.dataclass(frozen=True)
class BatchShape:
    """The shape that all batches of a run share."""

    num_devices: int
    events_per_device: int
    num_elements: int

    @property
    def num_events(self) -> int:
        """Events in a full batch, on all devices."""
        return self.num_devices * self.events_per_device


def abstract_batch(*leading: int, num_elements: int) -> EventBatch:
    """Returns a batch without values, to lower a step with: float32, `leading` axes as given."""

    def values(*trailing):
        return jax.ShapeDtypeStruct((*leading, *trailing), np.float32)

    return EventBatch(
        values(num_elements, NUM_FEATURES), values(num_elements, NUM_TARGETS), values()
    )


def make_batch(events: Events, indices: Int[np.ndarray, " taken"], shape: BatchShape) -> EventBatch:
    """Pads or cuts the named events and lays them out over the devices, in order.

    Fewer events than a full batch has are filled up with events of weight 0, at the end.
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
    """Returns the rows of elements that each device has of a batch, padding included."""
    return math.prod(batch.elements.shape[1:-1])


def refuse_too_many(indices: Int[np.ndarray, " taken"], shape: BatchShape) -> None:
    """Raises a ValueError if those are more events than a batch takes."""
    if len(indices) > shape.num_events:
        raise ValueError(f"{len(indices)} events do not fit a batch of {shape.num_events}.")


def batch_indices(
    order: Int[np.ndarray, " events"], batch_size: int
) -> Iterator[Int[np.ndarray, " taken"]]:
    """Cuts an order of events into batches; the last one may be shorter."""
    for start in range(0, len(order), batch_size):
        yield order[start : start + batch_size]
