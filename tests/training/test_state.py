"""The optimiser is keras' Adam, to the place of its epsilon; the weights are keras' draws."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mlpf_jax import config
from mlpf_jax.training import state
from tests import tiny


def keras_adam(weight, gradients, *, learning_rate, decay_steps, decay_rate):
    """Legacy keras Adam in float64, one weight."""
    m = v = 0.0
    for t, gradient in enumerate(gradients, start=1):
        m = 0.9 * m + 0.1 * gradient
        v = 0.999 * v + 0.001 * gradient**2
        rate = learning_rate * decay_rate ** ((t - 1) // decay_steps)
        weight -= rate * np.sqrt(1 - 0.999**t) / (1 - 0.9**t) * m / (np.sqrt(v) + 1e-7)
    return weight


@pytest.mark.parametrize("size", [1e-8, 1e-6, 1e-3, 10.0])
def test_updates_equal_those_of_keras(size):
    train = config.TrainConfig(learning_rate=1e-2, decay_steps=3, decay_rate=0.5)
    optimizer = state.optimizer(train)
    gradients = size * np.random.default_rng(0).normal(size=8)
    params = jnp.array([0.0])
    opt_state = optimizer.init(params)

    for gradient in gradients:
        updates, opt_state = optimizer.update(jnp.array([gradient], jnp.float32), opt_state, params)
        params = params + updates

    expected = keras_adam(0.0, gradients, learning_rate=1e-2, decay_steps=3, decay_rate=0.5)
    np.testing.assert_allclose(params[0], expected, rtol=2e-4)


@pytest.fixture(scope="module")
def created():
    return state.create(tiny.run_config(), jax.random.key(0))


def test_with_stacked_chains_the_moments_of_all_weights_are_one_vector_each(created):
    optimizer = state.optimizer(config.TrainConfig(stacks_chains=True))

    sizes = [leaf.size for leaf in jax.tree.leaves(optimizer.init(created.params)) if leaf.ndim]

    assert sizes == [state.count_parameters(created.params)] * 2


def test_initial_weights_are_drawn_as_keras_draws_them(created):
    layer = created.params["encoder"]["layer_1"]
    kernel, theta = layer["ffn_dist"]["dense_0"]["kernel"], layer["msg_0"]["theta"]
    limit = np.sqrt(6 / (8 + 8))

    assert np.max(np.abs(kernel)) <= limit
    assert np.std(kernel) == pytest.approx(limit / np.sqrt(3), rel=0.2)
    assert np.std(theta) == pytest.approx(0.05, rel=0.2)
    assert np.std(layer["msg_0"]["b_t"]) > 0.02  # it does not start at zero
    assert not np.any(layer["ffn_dist"]["dense_0"]["bias"])
    assert np.all(np.asarray(created.params["decoder"]["layernorm"]["scale"]) == 1)
    rotations = created.rotations["encoder"]["layer_0"]["rotations"]
    assert rotations.shape == (2, 8, 50)
    assert np.std(rotations) == pytest.approx(0.05, rel=0.1)


def test_the_two_chains_start_from_different_weights(created):
    theta = created.params["encoder"]["layer_0"]["msg_0"]["theta"]
    rotations = created.rotations["encoder"]["layer_0"]["rotations"]
    assert not np.any(np.asarray(theta[0]) == np.asarray(theta[1]))
    assert not np.any(np.asarray(rotations[0]) == np.asarray(rotations[1]))


def test_a_state_in_another_precision_is_refused():
    tree = {"layer": {"kernel": np.zeros(2, np.float64)}, "step": np.zeros((), np.int64)}

    with pytest.raises(RuntimeError, match=r"weights\['layer'\]\['kernel'\] is float64"):
        state.require_float32(tree, "weights")


def test_whole_numbers_and_float32_are_fine():
    state.require_float32({"a": np.zeros(2, np.float32), "b": np.zeros(2, np.int64)}, "weights")
