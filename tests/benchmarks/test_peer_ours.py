"""Our contenders compute the same; one of them skips empty bins."""

import numpy as np
import pytest

from benchmarks.peers import events as inputs
from benchmarks.peers import ours, ours_tight
from benchmarks.peers import workload as workload_lib
from mlpf_jax.events import batch as batch_lib
from tests import tiny


def workload(lengths=(20, 40, 64, 10)):
    """Two batches of two events: with tight padding, of five bins and of five."""
    created = tiny.random_state(tiny.run_config(batch_size=2))
    shape = batch_lib.BatchShape(1, 2, tiny.NUM_ELEMENTS)
    events = tiny.FakeEvents(lengths=lengths)
    batches = [batch_lib.make_batch(events, np.array(two), shape) for two in ((0, 1), (2, 3))]
    return workload_lib.Workload(
        model=tiny.MODEL,
        train=tiny.run_config(batch_size=2).train,
        weights=inputs.reference_weights(created, tiny.MODEL),
        elements=np.stack([batch.elements[0] for batch in batches]),
        targets=np.stack([batch.targets[0] for batch in batches]),
    )


def steps(contender, given):
    """The results of inference and then training on each batch."""
    batches = [contender.put(*pair) for pair in zip(given.elements, given.targets, strict=True)]
    sums = [step(batch) for step in (contender.infer, contender.train) for batch in batches]
    contender.wait(sums[-1])
    return [contender.fetch(one) for one in sums]


@pytest.mark.parametrize(
    "lengths", [(20, 40, 64, 10), pytest.param((5, 9, 64, 64), marks=pytest.mark.slow)]
)
def test_full_and_tight_compute_the_same(lengths):
    given = workload(lengths)
    contenders = [
        module.build(given, num_threads=1, compiled=True) for module in (ours, ours_tight)
    ]

    full, tight = (steps(contender, given) for contender in contenders)

    batches = [contenders[1].put(*pair) for pair in zip(given.elements, given.targets, strict=True)]
    num_bins = [batch_lib.rows_per_device(batch) // tiny.MODEL.bin_size for batch in batches]
    assert max(num_bins) == (5 if lengths[0] == 20 else 8)
    for (our_losses, our_counts), (losses, counts) in zip(tight, full, strict=True):
        assert our_losses == pytest.approx(losses, rel=1e-4)
        np.testing.assert_array_equal(our_counts, counts)
