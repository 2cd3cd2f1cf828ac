"""A phase that is too short for the counter of energy gets more samples, for the energy alone."""

import dataclasses
import itertools

import jax
import numpy as np
import pytest

from mlpf_jax import config, progress, stopping
from mlpf_jax.report import fields, result
from mlpf_jax.report import phase as phase_lib
from mlpf_jax.run import feed, phases
from mlpf_jax.run import setup as setup_lib
from mlpf_jax.telemetry import recorder as recorder_lib
from mlpf_jax.telemetry import source
from mlpf_jax.training import state
from tests.report import made_up_result
from tests.telemetry import made_up

BATCHES = [feed.FedBatch(n, 5, 25_000, 32_000, np.arange(5), ()) for n in range(3)]


class SlowlyFreed:
    """The outputs of many steps."""

    def __init__(self, clock):
        self.clock = clock

    def __del__(self):
        self.clock.now += 0.1


class Steps:
    """A step of 0.25 s; after `most` samples there is no memory."""

    def __init__(self, clock, most=1000):
        self.clock, self.most, self.batches = clock, most, []

    def __call__(self, fed):
        if not self.most:
            raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory")
        self.most -= 1
        self.batches += [batch.on_device for batch in fed]
        self.clock.now += 0.25 * len(fed)
        return SlowlyFreed(self.clock), 0.25 * len(fed)


@pytest.fixture
def clock():
    return made_up.Clock()


@pytest.fixture
def steps(clock):
    return Steps(clock)


def set_up(clock, *, energy=None, **wishes):
    """A run on a GPU of 100 W."""
    gpu = made_up.Source(clock, energy=energy)
    return setup_lib.Setup(
        config=config.RunConfig(),
        platform="gpu",
        put=lambda batch: batch,
        progress=progress.Progress(quiet=True),
        recorder=recorder_lib.Recorder(
            [gpu], on_cpu=False, clock=clock, sleep=clock.sleep, **wishes
        ),
        stop=stopping.Stop(),
    )


def lengthened(clock, steps, seconds, *, reason=None, **wishes):
    """A phase with two samples of these seconds, lengthened."""
    setup = set_up(clock, **wishes)
    setup.stop.reason = reason
    samples = made_up_result.samples(num=2, seconds=seconds)
    phase = made_up_result.run(samples).training
    return phases.lengthen(setup, phase, itertools.cycle(BATCHES), steps)


def test_samples_are_added_until_the_phase_is_long_enough(clock, steps):
    found = lengthened(clock, steps, 4.5)  # ten steps of 0.45 s each: one step is a sample

    assert sum(sample.seconds for sample in found.extra_samples) == 1.0
    assert [sample.energy.device_j for sample in found.extra_samples] == [25.0] * 4
    assert steps.batches == [0, 1, 2, 0]


def test_the_report_has_them_apart_from_those_of_the_score(clock, steps):
    found = lengthened(clock, steps, 4.5)

    written = fields.written(phase_lib.Phase, found, made_up_result.run(found.samples))

    assert len(written["sample_s"]) == 2
    assert written["extra_samples"][0] == {
        "seconds": 0.25,
        "num_steps": 1,
        "num_events": 5,
        "num_elements": 25_000,
        "start_s": 0.0,
        "energy": {"device_j": 25.0, "host_j": None},
    }


def test_the_score_is_that_of_the_samples_before(clock, steps):
    found = lengthened(clock, steps, 4.5)

    assert len(found.samples) == 2
    assert found.score.count == 2


def test_a_short_batch_counts_no_more_often_than_in_the_phase(clock, steps, monkeypatch):
    short = dataclasses.replace(BATCHES[0], num_events=1)
    monkeypatch.setattr(f"{__name__}.BATCHES", [*BATCHES, short])

    found = lengthened(clock, steps, 4.0)

    assert [sample.num_events for sample in found.extra_samples] == [5, 5, 5, 1] * 2


def test_the_energy_is_that_of_all(clock, steps):
    found = lengthened(clock, steps, 4.5)
    telemetry = made_up.telemetry([], {}, made_up.meter())
    run = made_up_result.run(found.samples, telemetry=telemetry)

    before, after = run.energy(run.training), run.energy(found)

    assert (before.is_short, after.is_short) == (True, False)
    assert after.joules == 2 * 500.0 + 100.0


@pytest.mark.parametrize(
    "changes",
    [
        {"seconds": 5.0},
        {"energy": source.Absent("a MIG slice")},
        {"reason": "SIGTERM"},
        {"lengthens": False},
    ],
)
def test_nothing_is_added_if_it_is_long_enough_or_must_not_be_longer(clock, steps, changes):
    found = lengthened(clock, steps, **{"seconds": 4.5} | changes)

    assert found.extra_samples == ()
    assert steps.batches == []


def test_without_memory_for_more_the_phase_stays_short_and_the_run_goes_on(clock):
    found = lengthened(clock, Steps(clock, most=2), 1.0)

    assert isinstance(found, result.PhaseResult)
    assert len(found.extra_samples) == 2


def test_freeing_the_outputs_of_a_sample_is_in_no_other_sample(clock, steps, monkeypatch):
    setup = set_up(clock)
    monkeypatch.setattr(phases, "time_inference", lambda setup, state, step, fed: steps(fed))

    samples = phases.infer(setup, tuple.__new__(state.TrainState), steps, BATCHES)

    assert [sample.energy.device_j for sample in samples] == [25.0] * len(samples)
