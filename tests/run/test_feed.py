"""Batches arrive in order, whole, and an error on the way is not lost."""

import numpy as np
import pytest

from mlpf_jax.events import batch as batch_lib
from mlpf_jax.run import feed
from tests import tiny


def batches(number):
    shape = batch_lib.BatchShape(1, 2, tiny.NUM_ELEMENTS)
    for start in range(0, 2 * number, 2):
        indices = np.arange(start, start + 2)
        yield feed.Batch(batch_lib.make_batch(tiny.FakeEvents(), indices, shape), indices)


def test_all_batches_arrive_in_order():
    with feed.Feed(batches(5), lambda batch: batch, depth=2) as source:
        arrived = list(source)

    for ours, expected in zip(arrived, batches(5), strict=True):
        np.testing.assert_array_equal(ours.on_device.elements, expected.arrays.elements)
        np.testing.assert_array_equal(ours.indices, expected.indices)
    assert len({fed.digests for fed in arrived}) == 5


def test_real_events_and_elements_are_counted():
    shape = batch_lib.BatchShape(1, 4, tiny.NUM_ELEMENTS)
    batch = batch_lib.make_batch(tiny.FakeEvents(), np.arange(3), shape)

    with feed.Feed([feed.Batch(batch, np.arange(3))], lambda batch: batch, depth=1) as source:
        (fed,) = source.take(5)

    lengths = [min(len(tiny.FakeEvents().event(i).elements), tiny.NUM_ELEMENTS) for i in range(3)]
    assert (fed.num_events, fed.num_elements) == (3, sum(lengths))


def test_an_error_while_loading_is_raised_where_it_is_waited_for():
    def broken():
        yield next(batches(1))
        raise OSError("the disk is gone")

    with feed.Feed(broken(), lambda batch: batch, depth=2) as source:
        source.take(1)
        with pytest.raises(OSError, match="the disk is gone"):
            source.take(1)


def test_leaving_early_ends_the_thread():
    with feed.Feed(batches(1000), lambda batch: batch, depth=1) as source:
        source.take(1)
    assert not source._thread.is_alive()
