"""The network agrees with its plain form, and the plain form with the original graph.

In float64 the two differ by rounding alone: 1e-10 of a tensor's norm leaves room for the squared
distances, which cancel, and is far below what any change of a formula makes.
"""

import dataclasses
import functools

import flax.traverse_util
import hypothesis
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import strategies

from mlpf_jax import config as config_lib
from mlpf_jax.events import batch as batch_lib
from mlpf_jax.events import ragged
from mlpf_jax.model import loss, lsh, pfnet, reference
from mlpf_jax.verify import golden, tolerances
from tests import tiny

ROUNDING = 1e-10  # relative
# The first layers pass on their input, which is narrower, the others their values.
MODEL = dataclasses.replace(tiny.MODEL, hidden_dim=24)
# The last bias of each embedding has no gradient but rounding: distances do not depend on it.
NO_GRADIENT = "ffn_dist/dense_1/bias"


@pytest.fixture(autouse=True)
def _float64():
    with jax.enable_x64(True), jax.numpy_dtype_promotion("standard"):
        yield


@functools.lru_cache
def abstract_weights(model):
    """Returns the shape of every weight under the reference's name."""
    rngs = {name: jax.random.key(0) for name in ("params", "rotations")}
    event = jax.ShapeDtypeStruct((2 * model.bin_size, pfnet.NUM_FEATURES), jnp.float32)
    shapes = jax.eval_shape(reference.ReferenceNet(model).init, rngs, event)
    named = {renamed(k): v.shape for k, v in flatten(shapes["params"]).items()}
    codebooks = {k.split("/")[0]: v.shape for k, v in flatten(shapes["rotations"]).items()}
    return named | {f"{layer}/lsh/codebook": shape for layer, shape in codebooks.items()}


def random_weights(model, seed=0):
    """Returns random weights under the reference's names, biases included."""
    rng = np.random.default_rng(seed)
    return {name: 0.2 * rng.normal(size=shape) for name, shape in abstract_weights(model).items()}


def make_batches(lengths, num_elements=tiny.NUM_ELEMENTS):
    """Returns events of these lengths, padded in full and tightly."""
    shape = batch_lib.BatchShape(1, len(lengths), num_elements)
    events, indices = tiny.FakeEvents(lengths=lengths), np.arange(len(lengths))
    full = batch_lib.make_batch(events, indices, shape)
    tight = ragged.Packing(shape, MODEL.bin_size).make_batch(events, indices)
    return jax.tree.map(
        lambda x: jnp.asarray(x[0], np.float64 if x.dtype == np.float32 else None), (full, tight)
    )


def total_loss(candidates, elements, targets):
    mask = pfnet.real_elements(elements)
    losses = loss.event_losses(candidates, loss.split_targets(targets), mask)
    return jnp.sum(loss.total(losses))


@functools.lru_cache
def program(apply):
    """Returns candidates, and the gradients of the loss of the weights and of the elements."""

    def forward(params, elements, rest, targets):
        candidates = apply({"params": params} | rest, elements)
        return total_loss(candidates, elements, targets), candidates

    def run(variables, elements, targets):
        rest = {"rotations": variables["rotations"]}
        gradient_of = jax.grad(forward, argnums=(0, 1), has_aux=True)
        gradients, candidates = gradient_of(variables["params"], elements, rest, targets)
        return candidates, *gradients

    return jax.jit(run)


@functools.lru_cache
def plain(model):
    net = reference.ReferenceNet(model)
    return program(lambda v, elements: jax.vmap(functools.partial(net.apply, v))(elements))


@functools.lru_cache
def optimised(model, stacks_chains=False):
    return program(pfnet.PFNet(model, stacks_chains).apply)


def run_plain(weights, model, elements, targets):
    """Returns what `plain` does, the gradients under the reference's names."""
    variables = golden.reference_variables(weights)
    candidates, of_params, of_elements = plain(model)(variables, elements, targets)
    named = {renamed(name): np.asarray(g) for name, g in flatten(of_params).items()}
    return candidates, named, of_elements


flatten = functools.partial(flax.traverse_util.flatten_dict, sep="/")


def renamed(name):
    return name.replace("norm/scale", "norm/gamma").replace("norm/bias", "norm/beta")


def pfnet_variables(weights, model):
    params, rotations = golden.variables_from_weights(weights, model)
    return jax.tree.map(jnp.asarray, {"params": params, "rotations": rotations})


def run_optimised(weights, model, elements, targets, *, stacks_chains=False):
    variables = pfnet_variables(weights, model)
    found = optimised(model, stacks_chains)(variables, elements, targets)
    return found[0], golden.weights_from_params(found[1], model), found[2]


def assert_same(ours, theirs):
    for name, value in theirs[0]._asdict().items():
        assert difference(getattr(ours[0], name), value) <= ROUNDING, name
    assert set(ours[1]) == set(theirs[1])
    for name, value in theirs[1].items():
        if not name.endswith(NO_GRADIENT):
            assert difference(ours[1][name], value) <= ROUNDING, name
    assert difference(ours[2], theirs[2]) <= ROUNDING, "elements"


def difference(ours, expected):
    assert np.shape(ours) == np.shape(expected)
    size = np.linalg.norm(np.asarray(expected))
    return np.linalg.norm(np.asarray(ours) - np.asarray(expected)) / (size or 1)


@pytest.mark.parametrize(
    ("lengths", "num_elements", "stacks_chains"),
    [
        ((33, 0, 64), 64, False),
        pytest.param((33, 0, 64), 64, True, marks=pytest.mark.slow),
        pytest.param((40,), 48, False, marks=pytest.mark.slow),
    ],
)
def test_values_and_gradients_are_those_of_the_plain_network(lengths, num_elements, stacks_chains):
    """Several events or one; an even or an odd number of bins; padded, empty and full events."""
    weights = random_weights(MODEL)
    full, _ = make_batches(lengths, num_elements)
    batch = (full.elements, full.targets)

    ours = run_optimised(weights, MODEL, *batch, stacks_chains=stacks_chains)
    theirs = run_plain(weights, MODEL, *batch)

    assert_same(ours, theirs)
    assert all(np.any(leaf) for leaf in theirs[0])


@pytest.mark.slow
@hypothesis.settings(max_examples=25)
@hypothesis.given(
    lengths=strategies.tuples(*[strategies.integers(0, tiny.NUM_ELEMENTS)] * 3),
    seed=strategies.integers(0, 99),
)
def test_plain_and_optimised_network_agree_for_events_of_all_lengths(lengths, seed):
    weights = random_weights(MODEL, seed)
    full, _ = make_batches(lengths)
    batch = (full.elements, full.targets)

    assert_same(run_optimised(weights, MODEL, *batch), run_plain(weights, MODEL, *batch))


@pytest.mark.parametrize(
    ("num_id", "num_energy"), [pytest.param(1, 2, marks=pytest.mark.slow), (2, 1)]
)
def test_the_chains_of_the_plain_network_are_those_of_the_optimised_one(num_id, num_energy):
    model = dataclasses.replace(MODEL, num_id_layers=num_id, num_energy_layers=num_energy)
    weights = random_weights(model)
    full, _ = make_batches((33,))
    variables = jax.tree.map(jnp.asarray, golden.reference_variables(weights))
    net = reference.ReferenceNet(model)

    ours = jax.jit(pfnet.PFNet(model).apply)(pfnet_variables(weights, model), full.elements)
    theirs = jax.jit(net.apply)(variables, full.elements[0])

    for name, value in theirs._asdict().items():
        assert difference(getattr(ours, name)[0], value) <= ROUNDING, name


def test_tight_padding_gives_every_element_what_the_plain_network_gives_it():
    lengths = (33, 0, 64)
    weights = random_weights(MODEL)
    full, tight = make_batches(lengths)
    described = lsh.Ragged(tight.event[None], len(lengths), tiny.NUM_ELEMENTS // MODEL.bin_size)

    apply = jax.jit(lambda v, elements: pfnet.PFNet(MODEL).apply(v, elements, described))
    ours = apply(pfnet_variables(weights, MODEL), tight.elements[None])
    theirs = run_plain(weights, MODEL, full.elements, full.targets)[0]

    assert tight.elements.shape[0] < full.elements[..., 0].size
    for name, value in theirs._asdict().items():
        real_of_ours = getattr(ours, name)[0][tight.elements[:, 0] != 0]
        assert difference(real_of_ours, value[full.elements[..., 0] != 0]) <= ROUNDING, name


@pytest.mark.slow
def test_the_plain_network_is_the_original_graph():
    """Outputs and gradients of the original's float64 run."""
    case = golden.load(golden.SMALL_CASE)
    expected = case.float64_arrays
    weights = {name: array.astype(np.float64) for name, array in case.weights().items()}
    x, ygen = (jnp.asarray(case.arrays[key], np.float64) for key in ("X", "ygen"))

    candidates, gradients, _ = run_plain(weights, case.model_config, x, ygen)

    outputs = candidates._asdict()
    outputs["cls"] = jax.nn.softmax(outputs.pop("class_logits"))
    for name, value in outputs.items():
        same = expected[f"out/{name}"].reshape(value.shape)
        assert difference(value, same) <= tolerances.FLOAT64.outputs, name
    compared = [name for name in gradients if not name.endswith(NO_GRADIENT)]
    assert len(compared) == len(gradients) - 4
    for name in compared:
        of_mean = gradients[name] / len(x)
        assert difference(of_mean, expected[f"grads/{name}"]) <= tolerances.FLOAT64.gradients, name


def test_one_weight_changed_is_seen():
    weights = random_weights(MODEL)
    full, _ = make_batches((33, 0, 64))
    batch = (full.elements, full.targets)
    changed = weights | {"cg_1/msg_0/W_t": weights["cg_1/msg_0/W_t"].copy()}
    changed["cg_1/msg_0/W_t"][0, 0] += 1e-6

    with pytest.raises(AssertionError, match="class_logits"):
        assert_same(run_optimised(changed, MODEL, *batch), run_plain(weights, MODEL, *batch))


def test_the_published_network_has_the_published_names_and_number_of_weights():
    net = reference.ReferenceNet(config_lib.ModelConfig())
    rngs = {name: jax.random.key(0) for name in ("params", "rotations")}

    shapes = jax.eval_shape(net.init, rngs, jnp.zeros((1280, pfnet.NUM_FEATURES)))

    assert sum(leaf.size for leaf in jax.tree.leaves(shapes["params"])) == 3_285_841
    assert sum(leaf.size for leaf in jax.tree.leaves(shapes["rotations"])) == 38_400
