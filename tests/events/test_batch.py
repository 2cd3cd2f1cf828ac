"""Padding fills with zeros only, and truncation removes only the excess elements."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlpf_jax.events import batch as batch_lib
from tests import tiny

EVENTS = tiny.FakeEvents()


@settings(max_examples=30)
@given(st.integers(1, 3), st.integers(1, 3), st.sampled_from([32, 64, 96]), st.integers(0, 20))
def test_every_event_lies_where_it_belongs(num_devices, per_device, num_elements, first):
    shape = batch_lib.BatchShape(num_devices, per_device, num_elements)
    number = shape.num_events - first % shape.num_events

    batch = batch_lib.make_batch(EVENTS, np.arange(first, first + number), shape)

    assert batch.elements.shape == (num_devices, per_device, num_elements, 12)
    assert batch.targets.shape == (num_devices, per_device, num_elements, 7)
    flat = batch.elements.reshape(-1, num_elements, 12)
    flat_targets = batch.targets.reshape(-1, num_elements, 7)
    for place in range(shape.num_events):
        event = EVENTS.event(first + place)
        kept = min(len(event.elements), num_elements) if place < number else 0
        np.testing.assert_array_equal(flat[place, :kept], event.elements[:kept])
        np.testing.assert_array_equal(flat_targets[place, :kept], event.targets[:kept])
        assert not flat[place, kept:].any()
        assert not flat_targets[place, kept:].any()
    np.testing.assert_array_equal(batch.weight.ravel(), np.arange(shape.num_events) < number)


def test_batches_keep_the_order_and_the_short_end():
    taken = list(batch_lib.batch_indices(np.arange(10), 4))
    assert [t.tolist() for t in taken] == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]


def test_too_many_events_for_a_batch_are_refused():
    with pytest.raises(ValueError, match="3 events do not fit a batch of 2"):
        batch_lib.make_batch(EVENTS, np.arange(3), batch_lib.BatchShape(1, 2, 64))


def test_an_abstract_batch_has_the_shapes_of_a_real_one():
    real = batch_lib.make_batch(EVENTS, np.arange(6), batch_lib.BatchShape(2, 3, 64))
    planned = batch_lib.abstract_batch(2, 3, num_elements=64)
    assert [x.shape for x in planned] == [x.shape for x in real]
    assert [x.dtype for x in planned] == [x.dtype for x in real]
