"""Invariants of the network for any weights: padding has no effect, events are independent."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mlpf_jax import config
from mlpf_jax.model import pfnet
from mlpf_jax.training import state, step
from mlpf_jax.verify import golden
from tests import tiny


@pytest.fixture(scope="module")
def network():
    """A tiny network with random biases, and a batch of two events."""
    model = pfnet.PFNet(tiny.MODEL)
    batch = jax.tree.map(lambda x: jnp.asarray(x[0]), tiny.make_batch(1, 2))
    created = tiny.random_state(tiny.run_config())
    variables = {"params": created.params, "rotations": created.rotations}
    return jax.jit(model.apply), variables, batch


@jax.jit
def gradient(variables, batch):
    """Returns the gradient of the total loss with respect to the weights."""
    model = pfnet.PFNet(tiny.MODEL)

    def loss(params):
        return step.batch_sums(model, params, variables["rotations"], batch)[0]

    return jax.grad(loss)(variables["params"])


def test_published_sizes_have_the_published_number_of_weights():
    created = state.shapes(config.RunConfig())
    assert state.count_parameters(created.params) == state.NUM_TRAINABLE == 3_285_841
    assert state.count_parameters(created.rotations) == state.NUM_FIXED == 38_400


def poison(batch):
    """Puts NaN into every padded row, except for the type, which marks padding."""
    real = pfnet.real_elements(batch.elements)[..., None]
    elements = jnp.where(real, batch.elements, jnp.nan).at[..., 0].set(batch.elements[..., 0])
    targets = jnp.where(real, batch.targets, jnp.nan).at[..., 0].set(batch.targets[..., 0])
    return batch._replace(elements=elements, targets=targets)


def test_padding_does_not_affect_the_reconstruction(network):
    apply, variables, batch = network

    clean = apply(variables, batch.elements)
    poisoned = apply(variables, poison(batch).elements)

    jax.tree.map(np.testing.assert_array_equal, poisoned, clean)
    padded = ~np.asarray(pfnet.real_elements(batch.elements))
    assert padded.any()
    assert all(not np.any(np.asarray(values)[padded]) for values in jax.tree.leaves(clean))


def test_padding_spoils_no_loss_and_no_gradient(network):
    _, variables, batch = network

    jax.tree.map(
        np.testing.assert_array_equal,
        gradient(variables, poison(batch)),
        gradient(variables, batch),
    )


def test_an_event_does_not_see_the_others(network):
    apply, variables, batch = network

    together = apply(variables, batch.elements)
    alone = apply(variables, batch.elements[1:])

    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a[1:], b, rtol=2e-5, atol=2e-5), together, alone
    )


@pytest.mark.slow
def test_jit_changes_nothing_but_rounding(network):
    apply, variables, batch = network

    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4),
        apply(variables, batch.elements),
        pfnet.PFNet(tiny.MODEL).apply(variables, batch.elements),
    )


def test_both_chains_at_once_compute_the_same(network):
    apply, variables, batch = network

    stacked = jax.jit(pfnet.PFNet(tiny.MODEL, stacks_chains=True).apply)(variables, batch.elements)

    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4),
        stacked,
        apply(variables, batch.elements),
    )


def test_unused_gates_have_no_gradient(network):
    _, variables, batch = network

    decoder = gradient(variables, batch)["decoder"]

    eta, phi = decoder["ffn_eta"]["dense_3"], decoder["ffn_phi"]["dense_3"]

    assert not np.any(eta["kernel"][:, 0])
    assert np.any(eta["kernel"][:, 1])
    assert not np.any(phi["kernel"][:, [0, 2]])
    assert np.any(phi["kernel"][:, [1, 3]])


@pytest.mark.parametrize("layers", [(1, 2), (2, 1), (3, 1)])
def test_the_two_chains_may_differ_in_length(layers):
    """Weights under the reference's names go into the network and come back the same."""
    num_id, num_energy = layers
    model = config.ModelConfig(
        num_id_layers=num_id,
        num_energy_layers=num_energy,
        bin_size=16,
        embedding_dim=8,
        embedding_hidden_dim=8,
        hidden_dim=8,
        decoder_dim=16,
    )
    run = config.RunConfig(model=model, data=config.DataConfig(num_elements=64))
    created = tiny.random_state(run)

    named = golden.weights_from_params(created.params, model)
    for layer, tree in created.rotations["encoder"].items():
        for name, values in golden.unstack(layer, tree["rotations"], model).items():
            named[f"{name}/lsh/codebook"] = values
    params, rotations = golden.variables_from_weights(named, model)

    assert sum(name.endswith("/theta") for name in named) == num_id + num_energy
    jax.tree.map(np.testing.assert_array_equal, params, created.params)
    jax.tree.map(np.testing.assert_array_equal, rotations, created.rotations)
    batch = tiny.make_batch(1, 1)
    variables = {"params": params, "rotations": rotations}
    jax.eval_shape(pfnet.PFNet(model).apply, variables, jnp.asarray(batch.elements[0]))
