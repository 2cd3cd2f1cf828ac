"""What a run tells of its batches, and which ones come again."""

import contextlib
import dataclasses
import itertools

import jax
import numpy as np
import pytest

from mlpf_jax import config as config_lib
from mlpf_jax import progress, stopping
from mlpf_jax.events import batch as batch_lib
from mlpf_jax.run import feed, loop, resuming
from mlpf_jax.run import setup as setup_lib
from mlpf_jax.telemetry import recorder
from mlpf_jax.training import step
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


def test_the_batches_for_the_energy_are_those_of_training_with_the_short_ones_in_their_share():
    config = tiny.run_config()
    config = dataclasses.replace(config, data=dataclasses.replace(config.data, num_train_events=5))
    quiet, stop = progress.Progress(quiet=True), stopping.Stop()
    setup = setup_lib.Setup(config, "gpu", lambda one: one, quiet, recorder.Recorder(), stop)
    endless = loop.endless_batches(setup, tiny.FakeEvents(), lambda _: np.arange(5))

    with contextlib.closing(endless):
        found = [one.num_events for one in itertools.islice(endless, 15)]

    assert sum(config.steps_by_epoch) == 6
    assert found == [2, 2, 1] * 5


@pytest.mark.parametrize(
    ("platform", "step_s", "expected"),
    [("gpu", 0.005, 5), ("gpu", 0.1, 2), ("gpu", 0.5, 1), ("cpu", 0.005, 200)],
)
def test_a_short_training_on_an_accelerator_has_several_samples(platform, step_s, expected):
    config = tiny.run_config(num_epochs=2, steps_per_epoch=20)
    quiet, stop = progress.Progress(quiet=True), stopping.Stop()
    setup = setup_lib.Setup(config, platform, lambda one: one, quiet, recorder.Recorder(), stop)

    assert setup.steps_per_training_sample(step_s) == expected


def test_a_process_that_is_stopped_in_its_first_validation_has_gone_on(monkeypatch):
    monkeypatch.setattr(step.loss, "total", lambda means: sum(means.values()))
    config = tiny.run_config(steps_per_epoch=1)
    quiet, stop, events = progress.Progress(quiet=True), stopping.Stop(), tiny.FakeEvents()
    setup = setup_lib.Setup(config, "cpu", lambda one: one, quiet, recorder.Recorder(), stop)
    keeper = resuming.Keeper(config_lib.FilesConfig(), stop, quiet)
    batches = loop.training_batches(setup, events, lambda _: np.arange(8), 0)
    sums = step.StepSums({"class": np.float32(2)}, np.ones((3, 3), np.float32), np.float32(2))

    def validate(current):
        raise stopping.Stopped("SIGTERM", 143)

    with pytest.raises(stopping.Stopped):
        loop.train(
            setup,
            tiny.random_state(config),
            lambda current, batch: (current, sums),
            validate,
            batches,
            keeper.track,
            keeper,
        )

    assert keeper.segment.num_steps == 1
    assert keeper.segment.recovery_s is not None
