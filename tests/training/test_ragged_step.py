"""Tight padding computes what full padding does: losses, counts, gradients, outputs, training."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mlpf_jax import config as config_lib
from mlpf_jax.events import batch as batch_lib
from mlpf_jax.events import ragged, source
from mlpf_jax.model import lsh, pfnet
from mlpf_jax.training import parallel, state, step
from mlpf_jax.verify import golden, tolerances
from tests import tiny

# In bins of 16, four of which are an event in full: empty, not full, full, cut.
LENGTHS = (33, 0, 64, 1, 80, 16, 17, 40)


@dataclasses.dataclass(frozen=True)
class Case:
    """A network with its weights, and the same events in both ways of padding."""

    model: pfnet.PFNet
    params: dict
    rotations: dict
    full: batch_lib.EventBatch
    tight: ragged.RaggedBatch


def both(events, number, shape, bin_size):
    packing = ragged.Packing(shape, bin_size)
    indices = np.arange(number)
    full = batch_lib.make_batch(events, indices, shape)
    return full, packing.make_batch(events, indices)


def on_one_device(batch, dtype=np.float32):
    def convert(x):
        return jnp.asarray(x[0], dtype if x.dtype == np.float32 else x.dtype)

    return jax.tree.map(convert, batch)


def tiny_case(lengths=LENGTHS, *, stacks_chains=False):
    shape = batch_lib.BatchShape(1, len(LENGTHS), tiny.NUM_ELEMENTS)
    full, tight = both(tiny.FakeEvents(lengths=lengths), len(lengths), shape, tiny.MODEL.bin_size)
    created = tiny.random_state(tiny.run_config())
    return Case(
        pfnet.PFNet(tiny.MODEL, stacks_chains),
        created.params,
        created.rotations,
        on_one_device(full),
        on_one_device(tight),
    )


def golden_case(path, dtype=np.float32):
    case = golden.load(path)
    x, ygen = case.arrays["X"], case.arrays["ygen"]
    lengths = np.count_nonzero(x[..., 0], axis=-1)
    for rows, length in zip(x, lengths, strict=True):
        assert np.all(rows[:length, 0])
    events = [
        tiny.FakeEvent(rows[:length], targets[:length])
        for rows, targets, length in zip(x, ygen, lengths, strict=True)
    ]

    class Events:
        event = staticmethod(events.__getitem__)

    weights = {name: array.astype(dtype) for name, array in case.weights().items()}
    params, rotations = golden.variables_from_weights(weights, case.model_config)
    shape = batch_lib.BatchShape(1, len(x), case.meta["n_pad"])
    full, tight = (
        on_one_device(batch, dtype)
        for batch in both(Events(), len(x), shape, case.model_config.bin_size)
    )
    params, rotations = jax.tree.map(jnp.asarray, (params, rotations))
    return Case(pfnet.PFNet(case.model_config), params, rotations, full, tight)


@functools.lru_cache
def program(model):
    """Returns what a step makes of a device's share, its gradient and the network's outputs."""

    def run(params, rotations, batch):
        variables = {"params": params, "rotations": rotations}
        described = ()
        if isinstance(batch, ragged.RaggedBatch):
            num_bins = batch.num_elements // model.config.bin_size
            described = (lsh.Ragged(batch.event[None], len(batch.weight), num_bins),)
            elements = batch.elements[None]
        else:
            elements = batch.elements
        candidates = model.apply(variables, elements, *described)
        gradient_of = jax.value_and_grad(step.batch_sums, argnums=1, has_aux=True)
        (total, sums), gradient = gradient_of(model, params, rotations, batch)
        return total, sums, gradient, candidates

    return jax.jit(run)


def compute(case, batch):
    return jax.device_get(program(case.model)(case.params, case.rotations, batch))


def of_elements(candidates, batch):
    """The outputs of the elements alone, event after event."""
    mask = np.ravel(batch.elements[..., 0] != 0)
    return jax.tree.map(lambda x: x.reshape(len(mask), *x.shape[2:])[mask], candidates)


def each_alone(batch):
    """The batch as many times as it has events, with the weight on one after another."""
    for weight in np.eye(len(batch.weight), dtype=batch.weight.dtype):
        alone = jnp.asarray(weight)
        if isinstance(batch, ragged.RaggedBatch):
            yield dataclasses.replace(batch, weight=alone)
        else:
            yield batch._replace(weight=alone)


def assert_same(case, *, losses, gradients, outputs):
    ours, theirs = (compute(case, batch) for batch in (case.tight, case.full))
    assert case.tight.elements.shape[0] < case.full.elements[..., 0].size
    assert_same_losses(ours, theirs, rtol=losses)
    np.testing.assert_array_equal(ours[1].counts, theirs[1].counts)
    assert ours[1].num_events == theirs[1].num_events
    named = [golden.weights_from_params(g, case.model.config) for g in (ours[2], theirs[2])]
    for name, value in named[1].items():
        if not name.endswith("ffn_dist/dense_1/bias"):  # analytically zero: rounding alone
            difference = np.linalg.norm(named[0][name] - value)
            assert difference <= gradients * np.linalg.norm(value), name
    pairs = zip(of_elements(ours[3], case.tight), of_elements(theirs[3], case.full), strict=True)
    for a, b in pairs:
        np.testing.assert_allclose(a, b, rtol=outputs, atol=outputs * np.abs(b).max())


def assert_same_losses(ours, theirs, *, rtol):
    assert ours[0] == pytest.approx(theirs[0], rel=rtol)
    for name, value in theirs[1].losses.items():
        assert ours[1].losses[name] == pytest.approx(value, rel=rtol), name


@pytest.mark.parametrize("stacks_chains", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_events_of_all_lengths(stacks_chains):
    case = tiny_case(stacks_chains=stacks_chains)

    assert_same(case, losses=tolerances.FLOAT32.losses, gradients=1e-4, outputs=1e-5)

    for tight, full in zip(each_alone(case.tight), each_alone(case.full), strict=True):
        alone, expected = compute(case, tight), compute(case, full)
        assert_same_losses(alone, expected, rtol=tolerances.FLOAT32.losses)


def test_a_batch_without_any_element():
    """As every program is called with once, before the clock starts."""
    case = tiny_case()
    nothing = jnp.zeros_like(case.tight.elements)
    nowhere = jnp.full_like(case.tight.event, len(LENGTHS))
    empty = dataclasses.replace(case.tight, elements=nothing, event=nowhere)

    total, sums, gradient, _ = compute(case, empty)

    assert total == 0
    assert sums.num_events == len(LENGTHS)
    assert sums.counts.sum() == 0
    assert all(not np.any(leaf) for leaf in jax.tree.leaves(gradient))


@pytest.mark.slow
def test_golden_events():
    float32 = tolerances.FLOAT32  # as wide a margin for rounding as against the reference itself
    assert_same(
        golden_case(golden.SMALL_CASE),
        losses=float32.losses,
        gradients=float32.gradients,
        outputs=float32.outputs,
    )


@pytest.mark.slow
def test_golden_events_in_float64():
    with jax.enable_x64(True), jax.numpy_dtype_promotion("standard"):
        case = golden_case(golden.SMALL_CASE, np.float64)
        assert_same(case, losses=1e-13, gradients=1e-10, outputs=1e-11)


def train(run, batches, num_devices):
    spread = parallel.Devices(jax.local_devices()[:num_devices], run.parallel)
    update = spread.spread_train_step(functools.partial(step.train_step, run))
    infer = spread.spread_infer_step(functools.partial(step.infer_step, run))
    current = spread.replicate(tiny.random_state(run))
    key = spread.replicate(jax.random.key(0))
    losses = []
    for batch in batches:
        current, sums = update(current, spread.split(batch), key)
        losses.append(sums.mean_losses())
    counts = infer(current, spread.split(batches[0])).counts
    return jax.device_get(losses), np.asarray(counts)


@pytest.mark.parametrize("kind", ["pmap", pytest.param("shard_map", marks=pytest.mark.slow)])
def test_training_on_two_devices_with_a_short_batch_and_an_empty_share(kind):
    run = dataclasses.replace(tiny.run_config(batch_size=3), parallel=kind)
    events = tiny.FakeEvents(lengths=LENGTHS)
    shape = batch_lib.BatchShape(2, 3, tiny.NUM_ELEMENTS)
    batches = [both(events, n, shape, tiny.MODEL.bin_size) for n in (6, 2)]

    full, tight = (train(run, list(way), 2) for way in zip(*batches, strict=True))

    for ours, theirs in zip(tight[0], full[0], strict=True):
        for name, value in theirs.items():
            assert float(ours[name]) == pytest.approx(float(value), rel=2e-5), name
    np.testing.assert_array_equal(tight[1], full[1])


@pytest.mark.slow
def test_simulated_events_through_the_published_network(tmp_path):
    """Three events at full size: the network, the bins and the padding of the benchmark.

    In float64, for in float32 rounding alone moves single elements by more than a per mille, how
    many depends on the CPU, and a real difference could hide among them.
    """
    events = source.open_events("ttbar", 3, data_dir=tmp_path, data_seed=1)
    run = config_lib.RunConfig(
        data=config_lib.DataConfig(padding="tight"),
        train=config_lib.TrainConfig(batch_size=3),
    )
    shape = batch_lib.BatchShape(1, 3, 6400)
    full, tight = both(events, 3, shape, run.model.bin_size)
    assert tight.elements.shape[1] < 3 * 6400
    created = state.create(run, jax.random.key(run.seed))
    with jax.enable_x64(True), jax.numpy_dtype_promotion("standard"):
        params, rotations = jax.tree.map(
            lambda x: jnp.asarray(x, np.float64), (created.params, created.rotations)
        )
        case = Case(
            pfnet.PFNet(run.model),
            params,
            rotations,
            on_one_device(full, np.float64),
            on_one_device(tight, np.float64),
        )
        assert_same(case, losses=1e-13, gradients=1e-10, outputs=1e-11)
