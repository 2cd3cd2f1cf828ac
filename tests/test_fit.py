"""The search for the largest batch, and what one attempt compiles."""

import dataclasses

import jax
import pytest

from mlpf_jax import fit
from mlpf_jax.measure import memory
from tests import tiny


@pytest.mark.parametrize("largest", [0, 1, 2, 3, 5, 8, 100, fit.LARGEST_BATCH, 10_000])
def test_the_search_ends_at_the_largest_that_fits(monkeypatch, largest):
    tried = []

    def attempt(config, devices, batch_size, limit_bytes):
        return fit.Attempt(batch_size, None, 0.0, fits=batch_size <= largest)

    monkeypatch.setattr(fit, "_attempt", attempt)
    found = fit.largest_batch(tiny.run_config(), (), 0, lambda a: tried.append(a.batch_size))

    assert found == min(largest, fit.LARGEST_BATCH)
    assert len(tried) == len(set(tried)) <= 25


def test_an_attempt_says_what_the_compiler_plans_and_more_events_need_more():
    devices = (jax.local_devices()[0],)
    needed = {}

    def note(attempt):
        needed[attempt.batch_size] = attempt.needed.total_bytes

    run = dataclasses.replace(
        tiny.run_config(), train=dataclasses.replace(tiny.run_config().train, batch_size=1)
    )
    limit = 1_500_000
    found = fit.largest_batch(run, devices, limit, note)

    assert found >= 1
    assert needed[found] <= limit < needed[found + 1]
    assert memory.limit_bytes(devices[0], 1) is None or limit < memory.limit_bytes(devices[0], 1)
