"""What the processes of a run tell of their batches is what one process would tell."""

import jax
import numpy as np

from mlpf_jax.events import batch as batch_lib
from mlpf_jax.run import feed, loop
from tests import tiny


def fed(arrays):
    with feed.Feed([feed.Batch(arrays, np.arange(4))], lambda batch: batch, depth=1) as source:
        return source.take(1)


def test_the_digests_of_all_processes_are_those_of_one_with_as_many_devices():
    shape = batch_lib.BatchShape(4, 1, tiny.NUM_ELEMENTS)
    whole = batch_lib.make_batch(tiny.FakeEvents(), np.arange(4), shape)
    first, second = (fed(jax.tree.map(lambda x, i=i: x[i : i + 2], whole)) for i in (0, 2))
    notes = [[one.digests for one in batches] for batches in (first, second)]

    (joined,) = loop.of_all_devices(first, notes)

    assert joined.digests == fed(whole)[0].digests
    assert len(set(joined.digests)) == 4
    assert loop.of_all_devices(second, []) == second
