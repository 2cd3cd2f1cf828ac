"""The search for the largest batch, and what one attempt compiles."""

import jax
import pytest

from mlpf_jax import progress
from mlpf_jax.run import fit
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
        return fit.Attempt(batch_size, None, 0.0, fits=batch_size <= largest)

    monkeypatch.setattr(fit, "_attempt", attempt)
    devices = (jax.local_devices()[0],)

    assert fit.print_table(tiny.run_config(), devices, progress.Progress(quiet=True))
    assert capsys.readouterr().out.endswith(answer)


def test_an_attempt_compares_what_the_steps_need_with_the_limit():
    devices = (jax.local_devices()[0],)

    attempt = fit._attempt(tiny.run_config(batch_size=1), devices, 1, 1000)

    assert attempt.needed.total_bytes > attempt.needed.temporary_bytes > 1000
    assert not attempt.fits


@pytest.mark.slow
def test_more_events_need_more_and_a_limit_is_kept():
    devices = (jax.local_devices()[0],)
    run = tiny.run_config(batch_size=1)

    one = fit._attempt(run, devices, 1, 10**12)
    three = fit._attempt(run, devices, 3, one.needed.total_bytes)

    assert one.needed.total_bytes < three.needed.total_bytes
    assert one.needed.temporary_bytes > 0
    assert (one.fits, three.fits) == (True, False)
