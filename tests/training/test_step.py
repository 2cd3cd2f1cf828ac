"""A step's result does not depend on how its events fall on devices, or on how it is compiled."""

import functools

import jax
import numpy as np
import pytest

from mlpf_jax import config
from mlpf_jax.training import parallel, state, step
from tests import tiny

NUM_STEPS = 3


@functools.cache  # its program takes seconds to compile
def prepared(num_devices, events_per_device, parallel_kind="pmap", at_once=0):
    """Returns the devices, the compiled training step, and its first state on the host."""
    run = tiny.run_config(batch_size=events_per_device, events_at_once=at_once)
    spread = parallel.Devices(jax.local_devices()[:num_devices], parallel_kind)
    update = spread.spread_train_step(functools.partial(step.train_step, run))
    initial = jax.device_get(tiny.random_state(run))
    batch = spread.split(tiny.make_batch(num_devices, events_per_device))
    key = spread.replicate(jax.random.key(0))
    compiled = update.lower(spread.replicate(initial), batch, key).compile()
    return spread, compiled, initial


def train(num_devices, events_per_device, *, num_real=None, **settings):
    """Trains for three steps; returns the losses of each and the final state, on the host."""
    spread, compiled, initial = prepared(num_devices, events_per_device, **settings)
    current = spread.replicate(initial)
    batch = spread.split(tiny.make_batch(num_devices, events_per_device, num_real))
    key = spread.replicate(jax.random.key(0))
    losses = []
    for _ in range(NUM_STEPS):
        current, sums = compiled(current, batch, key)
        losses.append({name: float(value) for name, value in sums.mean_losses().items()})
    return losses, jax.tree.map(np.asarray, current)


@pytest.fixture(scope="module")
def on_one_device():
    return train(1, 8)


def assert_same_training(ours, expected, *, rtol):
    for one, other in zip(ours[0], expected[0], strict=True):
        for name, value in other.items():
            assert one[name] == pytest.approx(value, rel=rtol), name
    assert int(ours[1].step) == int(expected[1].step) == NUM_STEPS


def test_eight_devices_compute_what_one_does(on_one_device):
    assert_same_training(train(8, 1), on_one_device, rtol=2e-5)


def test_events_one_after_another_compute_what_all_at_once_do(on_one_device):
    assert_same_training(train(1, 8, at_once=2), on_one_device, rtol=2e-5)


def test_shard_map_is_bit_identical_to_pmap():
    pmap, shard_map = train(8, 1), train(8, 1, parallel_kind="shard_map")
    assert pmap[0] == shard_map[0]
    jax.tree.map(np.testing.assert_array_equal, pmap[1], shard_map[1])


def test_shard_map_takes_over_where_jax_has_no_pmap(monkeypatch):
    run = tiny.run_config(batch_size=1)
    state_and_batch = tiny.random_state(run), tiny.make_batch(8, 1)

    def lowered(parallel_kind):
        spread = parallel.Devices(jax.local_devices(), parallel_kind)
        train_step = spread.spread_train_step(functools.partial(step.train_step, run))
        infer_step = spread.spread_infer_step(functools.partial(step.infer_step, run))
        return [
            train_step.lower(*state_and_batch, jax.random.key(0)).as_text(),
            infer_step.lower(*state_and_batch).as_text(),
        ]

    expected = lowered("shard_map")
    monkeypatch.delattr(jax, "pmap")

    assert lowered("pmap") == expected


def test_events_of_weight_zero_count_for_nothing():
    """Five events on eight devices are the five events on one: losses are means over events."""
    assert_same_training(train(8, 1, num_real=5), train(1, 5), rtol=2e-5)


def test_training_lowers_the_loss_and_counts_every_real_element(on_one_device):
    losses, _ = on_one_device
    assert losses[-1]["total"] < losses[0]["total"]

    run = tiny.run_config(batch_size=4)
    spread = parallel.Devices(jax.local_devices()[:2], "pmap")
    infer = spread.spread_infer_step(functools.partial(step.infer_step, run))
    batch = tiny.make_batch(2, 4, num_real=7)
    sums = infer(spread.replicate(tiny.random_state(run)), spread.split(batch))

    assert float(sums.num_events) == 7
    assert float(sums.counts.sum()) == np.count_nonzero(batch.elements[..., 0])


def test_rotations_are_an_argument_not_a_constant():
    """Else the compiled program, and so its fingerprint, would depend on the seed."""
    run = tiny.run_config(batch_size=1)
    spread = parallel.Devices(jax.local_devices()[:1], "pmap")
    update = spread.spread_train_step(functools.partial(step.train_step, run))
    batch = spread.split(tiny.make_batch(1, 1))
    key = spread.replicate(jax.random.key(0))

    first, second = (
        update.lower(spread.replicate(tiny.random_state(run, seed)), batch, key).as_text()
        for seed in (0, 1)
    )

    assert first == second


def test_the_step_runs_without_hidden_transfers():
    spread, compiled, initial = prepared(8, 1)
    current = spread.replicate(initial)
    batch = spread.split(tiny.make_batch(8, 1))
    key = spread.replicate(jax.random.key(0))

    with jax.transfer_guard("disallow"):
        current, _ = compiled(current, batch, key)
        current, _ = compiled(current, batch, key)

    assert int(current.step) == 2


def test_learning_rate_falls_in_steps():
    run = config.TrainConfig(learning_rate=1.0, decay_steps=2, decay_rate=0.5)
    optimizer = state.optimizer(run)
    params = np.zeros(1, np.float32)
    opt_state = optimizer.init(params)
    sizes = []
    for _ in range(5):
        updates, opt_state = optimizer.update(np.ones(1, np.float32), opt_state, params)
        sizes.append(float(-updates[0]))
    np.testing.assert_allclose(sizes, [1, 1, 0.5, 0.5, 0.25], rtol=1e-4)
