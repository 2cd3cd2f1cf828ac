"""What a run has done comes back from JSON to the bit."""

import contextlib
import dataclasses
import hashlib
import json

import jax
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mlpf_jax.measure import load, records
from mlpf_jax.report import result
from mlpf_jax.run import feed, track
from mlpf_jax.training import step


def stop(problem):
    raise RuntimeError(problem)


def sums(number):
    rng = np.random.default_rng(number)
    return step.StepSums(
        losses={name: np.float32(rng.normal()) for name in ("class", "energy")},
        counts=rng.integers(0, 99, (3, 3)).astype(np.float32),
        num_events=np.float32(2),
    )


def fed(number):
    indices = np.array([2 * number, 2 * number + 1])
    return feed.FedBatch(None, 2, 50, 64, indices, (f"{number:016x}",))


@pytest.fixture
def done(monkeypatch):
    monkeypatch.setattr(step.loss, "total", lambda means: sum(means.values()))
    found = track.Track()
    quality = result.Quality(
        losses={"total": 0.1}, accuracy=1.0, real_accuracy=0.5, weighted_accuracy=0.0
    )
    found.add_first_call(1.5)
    found.add_steps([fed(0), fed(1)], [sums(0), sums(1)], stop)
    found.add_time(2.0, records.InputTimes(0.1, 0.2, 0.3))
    found.samples.append(records.Sample(1 / 3, 1, 2, 50, (64,), load.Load(0.1, 0.0)))
    found.close_epoch(2, quality, quality, 0.25, stop)
    found.add_steps([fed(2)], [sums(2)], stop)
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


def test_the_digest_of_the_losses_is_that_of_their_bits_by_step_and_name():
    steps = [{"total": 3.0, "class": 1.0}, {"class": 0.5, "total": 0.1}]

    bits = np.array([1.0, 3.0, 0.5, 0.1], np.float32).tobytes()
    assert track.loss_sha256(steps) == hashlib.sha256(bits).hexdigest()
    assert track.Track(losses=steps).loss_sha256 == track.loss_sha256(steps)


def test_another_order_of_batches_has_another_digest(done):
    other = track.Track(batches=done.batches[::-1])

    assert other.batch_sha256 != done.batch_sha256


def test_a_step_has_one_digest_for_all_devices_in_their_order(done):
    def digest(*devices):
        other = dataclasses.replace(fed(0), digests=devices)
        found = track.Track()
        found.add_steps([other], [sums(0)], stop)
        return found.batches

    assert digest("0" * 16) == done.batches[:1]
    assert len(digest("0" * 16, "1" * 16)[0]) == 16
    assert digest("0" * 16, "1" * 16) != digest("1" * 16, "0" * 16)


def broken(value):
    return sums(3)._replace(losses={"class": np.float32(1), "energy": np.float32(value)})


def test_a_loss_that_is_not_finite_names_step_loss_and_events(done):
    before = done.to_json()

    with pytest.raises(
        RuntimeError, match=r"step 4 is not finite \(energy, total; .* events 6, 7\)"
    ):
        done.add_steps([fed(3)], [broken(np.nan)], stop)
    assert done.to_json() == before


def test_a_loss_that_is_not_finite_can_be_recorded_and_comes_back_with_the_same_digest(done):
    told = []

    done.add_steps([fed(3), fed(4)], [broken(-np.nan), broken(np.inf)], told.append)

    again = track.Track.from_json(json.loads(json.dumps(done.to_json())))
    assert [text.split(" is")[0] for text in told] == ["the loss of step 4", "the loss of step 5"]
    assert (again.not_finite, again.num_steps) == ([4, 5], 5)
    assert [losses["class"] for losses in again.losses[-2:]] == [0.5, 0.5]  # of two events
    assert again.loss_sha256 == done.loss_sha256


def test_a_validation_loss_that_is_not_finite_is_told(done):
    good = result.Quality(
        losses={"total": 1.0}, accuracy=1.0, real_accuracy=0.5, weighted_accuracy=0.0
    )
    bad = dataclasses.replace(good, losses={"total": np.nan})

    with pytest.raises(RuntimeError, match=r"validation loss of epoch 2 is not finite \(total\)"):
        done.close_epoch(1, good, bad, 0.1, stop)


@pytest.mark.parametrize("number", [3.41e38, 10**400])
def test_a_number_that_float32_cannot_hold_is_refused(done, number):
    document = done.to_json()
    document["sums"][0]["counts"] = [[number]]

    with pytest.raises(OverflowError):
        track.Track.from_json(document)


@pytest.mark.parametrize(
    ("name", "value"),
    [("seconds", 0.0), ("seconds", -1.0), ("seconds", np.nan), ("num_events", 0), ("load", np.inf)],
)
def test_a_sample_that_gives_no_rate_is_refused(done, name, value):
    document = done.to_json()
    value = {"other_cores": value, "stolen_cores": 0.0} if name == "load" else value
    document["samples"][0][name] = value

    with pytest.raises(ValueError, match=r"a sample has no time|no measured number"):
        track.Track.from_json(document)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.sampled_from(["", "1", "é"]),
    lambda inner: (
        st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(["", "1", "é"]), inner)
    ),
    max_leaves=4,
)


@pytest.mark.slow
@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data(), put=JSON)
def test_a_track_with_foreign_content_is_read_or_refused(done, data, put):
    document = json.loads(json.dumps(done.to_json()))
    place = document
    while True:
        keys = range(len(place)) if isinstance(place, list) else sorted(place)
        key = data.draw(st.sampled_from(list(keys)))
        if not (isinstance(place[key], list | dict) and place[key] and data.draw(st.booleans())):
            break
        place = place[key]
    place[key] = put

    refused = (AttributeError, KeyError, OverflowError, TypeError, ValueError)
    with contextlib.suppress(*refused):
        track.Track.from_json(document)
