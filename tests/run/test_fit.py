"""The search for the largest batch, and what one attempt compiles."""

import itertools
import threading

import jax
import numpy as np
import pytest

from mlpf_jax import progress, stopping
from mlpf_jax.events import batch as batch_lib
from mlpf_jax.measure import records
from mlpf_jax.run import feed, fit, setup
from mlpf_jax.telemetry import recorder
from tests import tiny


@pytest.mark.parametrize("largest", [0, 1, 2, 3, 5, 8, 100, fit.LARGEST_BATCH, 10_000])
def test_the_search_ends_at_the_largest_that_fits(monkeypatch, largest):
    tried = []

    def attempt(config, devices, batch_size, limit_bytes):
        return fit.Attempt(batch_size, None, 0, 0.0, fits=batch_size <= largest)

    monkeypatch.setattr(fit, "_attempt", attempt)
    found = fit.largest_batch(tiny.run_config(), (), 0, lambda a: tried.append(a.batch_size))

    assert found == min(largest, fit.LARGEST_BATCH)
    assert len(tried) == len(set(tried)) <= 25


@pytest.mark.parametrize("largest", [0, 1, 2, 3, 170, 1000, 5000])
@pytest.mark.parametrize("step_bytes", [1, 300, 5000, 10**7])
@pytest.mark.parametrize("bytes_of_one", [600, 2000])
def test_few_batches_are_tried_where_memory_grows_with_the_batch(
    monkeypatch, largest, step_bytes, bytes_of_one
):
    """By about the same bytes for every event, or in steps."""
    tried = []

    def bytes_of(batch_size):
        exact = 10_000 + bytes_of_one * batch_size + 2 * int(batch_size**0.5)
        return -(-exact // step_bytes) * step_bytes

    def attempt(config, devices, batch_size, limit_bytes):
        total = bytes_of(batch_size)
        needed = records.StepMemory(total, 0, 0, 0)
        return fit.Attempt(batch_size, needed, 0, 0.0, fits=total <= limit_bytes)

    monkeypatch.setattr(fit, "_attempt", attempt)
    limit = bytes_of(largest)
    found = fit.largest_batch(tiny.run_config(), (), limit, lambda a: tried.append(a.batch_size))

    fits = [n for n in range(fit.LARGEST_BATCH + 1) if bytes_of(n) <= limit]
    assert found == max(fits)
    assert len(tried) == len(set(tried)) <= (7 if step_bytes < bytes_of_one else 25)


@pytest.mark.parametrize(
    ("largest", "answer"),
    [
        (100, "It fits: up to 100 events per device, 100 per step.\n"),
        (
            10_000,
            "It fits: at least 4096 events per device, 4096 per step.\n"
            "More than 4096 per device were not tried.\n",
        ),
    ],
)
def test_the_limit_of_the_search_is_not_reported_as_the_answer(
    monkeypatch, capsys, largest, answer
):
    def attempt(config, devices, batch_size, limit_bytes):
        return fit.Attempt(batch_size, None, 0, 0.0, fits=batch_size <= largest)

    monkeypatch.setattr(fit, "_attempt", attempt)
    devices = (jax.local_devices()[0],)

    assert fit.print_table(tiny.run_config(), devices, progress.Progress(quiet=True))
    assert capsys.readouterr().out.endswith(answer)


def test_an_attempt_compares_what_the_steps_need_with_the_limit():
    devices = (jax.local_devices()[0],)

    attempt = fit._attempt(tiny.run_config(batch_size=1), devices, 1, 1000)

    assert attempt.needed.total_bytes > attempt.needed.temporary_bytes > 1000
    assert not attempt.fits


def test_a_batch_fits_beside_the_others_on_the_device(monkeypatch):
    """Those of a sample, those that wait, one on its way, and all test events."""
    run, one = tiny.run_config(), batch_lib.BatchShape(1, 2, tiny.NUM_ELEMENTS).num_bytes
    monkeypatch.setattr(setup, "_BYTES_AHEAD", 3 * one)
    has_put = threading.Semaphore(0)

    def put(batch):
        has_put.release()
        return batch

    parts = progress.Progress(quiet=True), recorder.Recorder(), stopping.Stop()
    ahead = setup.Setup(run, "gpu", put, *parts).batches_ahead
    batches = itertools.repeat(feed.Batch(tiny.make_batch(1, 2), np.arange(2)))
    with feed.Feed(batches, put, ahead) as source:
        sample = source.take(ahead)
        are_there = [has_put.acquire(timeout=30) for _ in range(2 * ahead + 1)]
    assert len(sample) == ahead == 3
    assert all(are_there)

    beside = setup.bytes_beside_step(run)
    assert beside == (len(are_there) - 1) * one + 2 * one  # the step's plan has one; 4 test events
    devices = (jax.local_devices()[0],)
    needed = fit._attempt(run, devices, 2, 0).needed.total_bytes
    assert fit._attempt(run, devices, 2, needed + beside).fits
    assert not fit._attempt(run, devices, 2, needed + beside - 1).fits


@pytest.mark.slow
def test_more_events_need_more_and_a_limit_is_kept():
    devices = (jax.local_devices()[0],)
    run = tiny.run_config(batch_size=1)

    one = fit._attempt(run, devices, 1, 10**12)
    three = fit._attempt(run, devices, 3, one.needed.total_bytes + one.beside_bytes)

    assert one.needed.total_bytes < three.needed.total_bytes
    assert one.needed.temporary_bytes > 0
    assert (one.fits, three.fits) == (True, False)
