"""The training step and the inference step, as run by each device.

All results are weighted sums over events until the end, so they do not depend on the distribution
of events over devices, and a short last batch needs no special case.
"""

from typing import Any, NamedTuple, cast

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key, PyTree

from mlpf_jax import config as config_lib
from mlpf_jax.events import ragged as ragged_lib
from mlpf_jax.model import loss, lsh, metrics, pfnet
from mlpf_jax.model.parts import Part
from mlpf_jax.training import state as state_lib

AXIS = "data"  # name of the device axis


class StepSums(NamedTuple):
    """The results of a step, summed over the events of weight 1."""

    losses: dict[str, Float[Array, ""]]  # per output, before coefficients
    counts: Float[Array, "true predicted"]  # real elements by true and predicted class
    num_events: Float[Array, ""]

    def mean_losses(self) -> dict[str, Any]:
        """Returns the mean loss per output and their `total`, on the host if the sums are there."""
        means = {name: value / self.num_events for name, value in self.losses.items()}
        return means | {"total": loss.total(means)}


@Part.LOSS.mark
def batch_sums(
    model: pfnet.PFNet, params: PyTree, rotations: PyTree, batch: ragged_lib.AnyBatch
) -> tuple[Float[Array, ""], StepSums]:
    """Returns the total loss summed over the events of a device, and all sums."""
    variables = {"params": params, "rotations": rotations}
    if isinstance(batch, ragged_lib.RaggedBatch):
        return _ragged_sums(model, variables, batch)
    candidates = cast(pfnet.Candidates, model.apply(variables, batch.elements))
    mask = pfnet.real_elements(batch.elements)
    targets = loss.split_targets(batch.targets)
    losses = {
        name: jnp.sum(batch.weight * values)
        for name, values in loss.event_losses(candidates, targets, mask).items()
    }
    counts = metrics.count_classes(candidates.class_logits, targets.class_id, mask)
    sums = StepSums(losses, jnp.sum(counts, axis=0), jnp.sum(batch.weight))
    return loss.total(losses), sums


def _ragged_sums(model, variables, batch):
    """The same sums over the same events, without empty bins."""
    event, num_events = batch.event[None], batch.weight.shape[0]
    num_bins = batch.num_elements // model.config.bin_size
    elements = batch.elements[None]  # one long event for the network
    ragged = lsh.Ragged(event, num_events, num_bins)
    candidates = cast(pfnet.Candidates, model.apply(variables, elements, ragged))
    mask = pfnet.real_elements(elements)
    targets = loss.split_targets(batch.targets[None])
    weight = batch.weight.at[event].get(mode="fill", fill_value=0)
    losses = loss.summed_losses(candidates, targets, mask, weight, batch.num_elements)
    counts = metrics.count_classes(candidates.class_logits, targets.class_id, mask)
    sums = StepSums(losses, jnp.sum(counts, axis=0), jnp.sum(batch.weight))
    return loss.total(losses), sums


@Part.OPTIMISER.mark
def train_step(
    config: config_lib.RunConfig,
    state: state_lib.TrainState,
    batch: ragged_lib.AnyBatch,
    key: Key[Array, ""],
) -> tuple[state_lib.TrainState, StepSums]:
    """Updates the weights with one batch. `batch` is this device's share, without a device axis.

    The key has no effect, because the graph has no randomness (its dropout is 0). It is an argument
    so that any future randomness of a layer comes from it alone.
    """
    del key
    model = pfnet.PFNet(config.model, config.train.stacks_chains)

    def gradients_of(part):
        gradient = jax.grad(batch_sums, argnums=1, has_aux=True)
        return gradient(model, state.params, state.rotations, part)

    sums = _sum_over_events(gradients_of, batch, config.train.events_at_once)
    gradients, sums = jax.lax.psum(sums, AXIS)
    gradients = jax.tree.map(lambda g: g / sums.num_events, gradients)
    updates, opt_state = state_lib.optimizer(config.train).update(
        gradients, state.opt_state, state.params
    )
    params = jax.tree.map(jnp.add, state.params, updates)
    new_state = state._replace(step=state.step + 1, params=params, opt_state=opt_state)
    return new_state, sums


def infer_step(
    config: config_lib.RunConfig, state: state_lib.TrainState, batch: ragged_lib.AnyBatch
) -> StepSums:
    """Runs the network on one batch without updates, and compares the output with the targets."""
    model = pfnet.PFNet(config.model, config.train.stacks_chains)

    def sums_of(part):
        return batch_sums(model, state.params, state.rotations, part)[1]

    sums = _sum_over_events(sums_of, batch, config.train.events_at_once)
    return jax.lax.psum(sums, AXIS)


def _sum_over_events(function, batch, events_at_once):
    """Returns the sum of function(part) over parts of the batch, computed one after another."""
    num_events = batch.weight.shape[0]
    if events_at_once in (0, num_events):
        return function(batch)
    num_parts = num_events // events_at_once
    parts = jax.tree.map(lambda x: x.reshape(num_parts, events_at_once, *x.shape[1:]), batch)
    zero = jax.tree.map(
        lambda s: jnp.zeros(s.shape, s.dtype),
        jax.eval_shape(function, jax.tree.map(lambda x: x[0], parts)),
    )
    total, _ = jax.lax.scan(
        lambda sums, part: (jax.tree.map(jnp.add, sums, function(part)), None), zero, parts
    )
    return total
