"""Packing removes only empty bins, and uses few lengths."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlpf_jax.events import batch as batch_lib
from mlpf_jax.events import ragged
from tests import tiny

NUM_ELEMENTS, BIN_SIZE = 64, 16


def packing(num_devices=1, per_device=2):
    shape = batch_lib.BatchShape(num_devices, per_device, NUM_ELEMENTS)
    return ragged.Packing(shape, BIN_SIZE)


def unpack(batch, device, number):
    rows = batch.event[device] == number
    return batch.elements[device, rows], batch.targets[device, rows]


@settings(max_examples=60)
@given(st.integers(1, 3), st.lists(st.integers(0, 80), min_size=1, max_size=9), st.data())
def test_every_event_comes_out_as_it_went_in(num_devices, lengths, data):
    per_device = -(-len(lengths) // num_devices) + data.draw(st.integers(0, 2))
    made_of = packing(num_devices, per_device)
    events = tiny.FakeEvents(lengths=lengths)

    batch = made_of.make_batch(events, np.arange(len(lengths)))

    full = batch_lib.make_batch(events, np.arange(len(lengths)), made_of.shape)
    np.testing.assert_array_equal(batch.weight, full.weight)
    for device, number in np.ndindex(num_devices, per_device):
        elements, targets = unpack(batch, device, number)
        place = device * per_device + number
        length = min(lengths[place], NUM_ELEMENTS) if place < len(lengths) else 0
        assert len(elements) == -(-length // BIN_SIZE) * BIN_SIZE
        np.testing.assert_array_equal(elements, full.elements[device, number, : len(elements)])
        np.testing.assert_array_equal(targets, full.targets[device, number, : len(elements)])
    assert not batch.elements[batch.event == per_device].any()
    assert not batch.targets[batch.event == per_device].any()
    assert np.all(np.diff(batch.event, axis=-1) >= 0)
    starts = np.flatnonzero(np.diff(batch.event, axis=-1, prepend=-1))
    assert not np.any(starts % BIN_SIZE)
    assert batch.num_elements == NUM_ELEMENTS


@settings(max_examples=60)
@given(st.integers(1, 4), st.integers(1, 40), st.data())
def test_the_capacity_holds_the_fullest_device_and_wastes_little(num_devices, per_device, data):
    made_of = packing(num_devices, per_device)
    most = num_devices * per_device
    lengths = np.array(data.draw(st.lists(st.integers(0, 200), min_size=1, max_size=most)))

    capacity = made_of.capacity(lengths)

    needed = np.zeros(most, int)
    needed[: len(lengths)] = made_of.num_bins(lengths)
    fullest = needed.reshape(num_devices, per_device).sum(axis=1).max()
    step = -(-made_of.full_capacity // 20)
    assert fullest <= capacity <= made_of.full_capacity
    assert capacity < max(fullest, 1) + step
    assert capacity % step == 0 or capacity == made_of.full_capacity
    possible = {made_of.capacity(np.array([n])) for n in range(200)}
    assert min(possible) >= 1


def test_a_device_never_gets_more_than_twenty_capacities():
    made_of = packing(1, 33)
    lengths = [np.full(33, 64)[:n] for n in range(1, 34)]
    assert len({made_of.capacity(taken) for taken in lengths}) <= 20


def test_published_events_on_the_published_bins():
    """One event: a program for every number of bins; 64 of them: a step is 32 of 640 bins."""
    one, many = (ragged.Packing(batch_lib.BatchShape(1, n, 6400), 640) for n in (1, 64))
    lengths = [0, 1, 640, 641, 5050, 6400, 9000]
    assert one.num_bins(np.array(lengths)).tolist() == [0, 1, 1, 2, 8, 10, 10]
    assert [one.capacity(np.array([n])) for n in lengths] == [1, 1, 1, 2, 8, 10, 10]
    assert many.capacity(np.full(64, 5050)) == 512
    assert many.capacity(np.full(64, 5200)) == 576


def test_too_many_events_for_a_batch_are_refused():
    with pytest.raises(ValueError, match="3 events do not fit a batch of 2"):
        packing().make_batch(tiny.FakeEvents(), np.arange(3))
