"""What a run has done comes back from JSON to the bit."""

import json

import jax
import numpy as np
import pytest

from mlpf_jax.measure import load, records
from mlpf_jax.report import result
from mlpf_jax.run import feed, track
from mlpf_jax.training import step


def sums(number):
    rng = np.random.default_rng(number)
    return step.StepSums(
        losses={name: np.float32(rng.normal()) for name in ("class", "energy")},
        counts=rng.integers(0, 99, (3, 3)).astype(np.float32),
        num_events=np.float32(2),
    )


def fed(number):
    return feed.FedBatch(None, 2, 50, 64, np.array([2 * number, 2 * number + 1]), f"{number:016x}")


@pytest.fixture
def done(monkeypatch):
    monkeypatch.setattr(step.loss, "total", lambda means: sum(means.values()))
    found = track.Track()
    quality = result.Quality(
        losses={"total": 0.1}, accuracy=1.0, real_accuracy=0.5, weighted_accuracy=0.0
    )
    found.add_first_call(1.5)
    found.add_steps([fed(0), fed(1)], [sums(0), sums(1)])
    found.add_time(2.0, records.InputTimes(0.1, 0.2, 0.3))
    found.samples.append(records.Sample(1 / 3, 1, 2, 50, (64,), load.Load(0.1, 0.0)))
    found.close_epoch(2, quality, quality, 0.25)
    found.add_steps([fed(2)], [sums(2)])
    return found


def test_a_track_comes_back_to_the_bit(done):
    again = track.Track.from_json(json.loads(json.dumps(done.to_json())))

    assert again.to_json() == done.to_json()
    assert (again.epochs, again.samples) == (done.epochs, done.samples)
    assert again.loss_sha256 == done.loss_sha256
    jax.tree.map(np.testing.assert_array_equal, again.sums, done.sums)
    assert {leaf.dtype for leaf in jax.tree.leaves(again.sums)} == {np.dtype(np.float32)}


def test_an_epoch_knows_whether_it_has_a_first_call(done):
    assert [epoch.has_first_call for epoch in done.epochs] == [True]
    assert (done.epochs[0].seconds, done.epochs[0].num_events) == (2.0, 4)
    assert (done.has_first_call, done.events_in_epoch) == (False, 2)


def test_another_order_of_batches_has_another_digest(done):
    other = track.Track(batches=done.batches[::-1])

    assert other.batch_sha256 != done.batch_sha256


def test_a_loss_that_is_not_finite_names_step_loss_and_events(done):
    broken = sums(3)._replace(losses={"class": np.float32(1), "energy": np.float32(np.nan)})

    with pytest.raises(
        RuntimeError, match=r"step 4 is not finite \(energy, total; .* events 6, 7\)"
    ):
        done.add_steps([fed(3)], [broken])
