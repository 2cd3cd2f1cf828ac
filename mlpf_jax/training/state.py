"""The training state and the optimiser."""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Int, Key, PyTree

from mlpf_jax import config as config_lib
from mlpf_jax.model import pfnet

NUM_TRAINABLE = 3_285_841  # for the published sizes
NUM_FIXED = 38_400
_BETA1, _BETA2, _EPSILON = 0.9, 0.999, 1e-7  # keras' defaults
_INIT, _ROTATIONS = 0, 1  # constants to fold into a key, by purpose


class TrainState(NamedTuple):
    """The weights, the optimiser's state, the rotations and the step.

    The rotations never change. They are nevertheless an argument of the step and not a constant,
    because otherwise the compiled program and its fingerprint would depend on the seed.
    """

    step: Int[Array, ""]
    params: PyTree
    opt_state: PyTree
    rotations: PyTree


def create(config: config_lib.RunConfig, key: Key[Array, ""]) -> TrainState:
    """Draws the initial weights and rotations.

    They depend only on the sizes of the network, not on the number or length of events.
    """
    smallest = jax.ShapeDtypeStruct((1, 2 * config.model.bin_size, pfnet.NUM_FEATURES), jnp.float32)
    rngs = {
        "params": jax.random.fold_in(key, _INIT),
        "rotations": jax.random.fold_in(key, _ROTATIONS),
    }
    model = pfnet.PFNet(config.model)

    def draw(rngs: dict[str, Key[Array, ""]]) -> TrainState:
        variables = model.lazy_init(rngs, smallest)
        params = variables["params"]
        return TrainState(
            step=jnp.zeros((), jnp.int32),
            params=params,
            opt_state=optimizer(config.train).init(params),
            rotations=variables["rotations"],
        )

    return jax.jit(draw)(rngs)  # one program: creating hundreds of small arrays takes a second


def shapes(config: config_lib.RunConfig) -> TrainState:
    """Returns the shapes and dtypes of what `create` draws, without compiling or drawing."""
    return jax.eval_shape(functools.partial(create, config), jax.random.key(0))


def zeros(tree: PyTree) -> PyTree:
    """Returns host arrays of zeros with the shapes and dtypes of a tree."""
    return jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), tree)


def optimizer(config: config_lib.TrainConfig) -> optax.GradientTransformation:
    """Returns Adam as computed by keras, with a stepwise decreasing learning rate.

    With stacked chains, as on accelerators, its moments are one vector each: a GPU updates all
    weights in few launches. A CPU is faster with a moment for each weight.
    """
    schedule = optax.exponential_decay(
        config.learning_rate, config.decay_steps, config.decay_rate, staircase=True
    )
    adam = _scale_by_keras_adam()
    if config.stacks_chains:
        adam = optax.flatten(adam)
    return optax.chain(adam, optax.scale_by_learning_rate(schedule))


def _scale_by_keras_adam() -> optax.GradientTransformation:
    """Adam that adds epsilon to sqrt(v) before the bias correction.

    optax adds it afterwards. For small gradients, that differs by up to 7e-5 from a step of 1e-4.
    Source: keras.optimizers.legacy.Adam ("epsilon hat" in Kingma and Ba, arXiv:1412.6980).
    """

    def init(params):
        return optax.ScaleByAdamState(
            count=jnp.zeros((), jnp.int32),
            mu=optax.tree.zeros_like(params),
            nu=optax.tree.zeros_like(params),
        )

    def update(updates, state, params=None):
        del params
        count = state.count + 1
        mu = optax.tree.update_moment(updates, state.mu, _BETA1, 1)
        nu = optax.tree.update_moment(updates, state.nu, _BETA2, 2)

        def scaled(m, v):
            time = count.astype(m.dtype)
            correction = jnp.sqrt(1 - _BETA2**time) / (1 - _BETA1**time)
            return correction * m / (jnp.sqrt(v) + _EPSILON)

        return jax.tree.map(scaled, mu, nu), optax.ScaleByAdamState(count, mu, nu)

    return optax.GradientTransformation(init, update)


def count_parameters(tree: PyTree) -> int:
    """Returns the number of weights in a tree."""
    return sum(leaf.size for leaf in jax.tree.leaves(tree))


def require_float32(tree: PyTree, what: str) -> None:
    """Checks that all floating-point arrays in a tree are float32.

    Raises:
        RuntimeError: if some are not, because the score would then be for different work.
    """
    for path, leaf in jax.tree_util.tree_leaves_with_path(tree):
        if jnp.issubdtype(leaf.dtype, jnp.inexact) and leaf.dtype != jnp.float32:
            name = jax.tree_util.keystr(path)
            raise RuntimeError(f"{what}{name} is {leaf.dtype}, not float32.")
