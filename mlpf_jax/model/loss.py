"""The training loss, as sums that can be split over events and devices in any way.

Source: the loss block of parameters/delphes-benchmark.yaml in the reference, with keras'
SUM_OVER_BATCH_SIZE: every element counts in the denominator, padding included.
"""

import functools
import operator
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from mlpf_jax.model import pfnet

# The weight of each output in the total, by its name in the reference.
COEFFICIENTS: dict[str, float] = {
    "cls": 1.0,
    "charge": 1.0,
    "pt": 100.0,
    "eta": 100.0,
    "sin_phi": 100.0,
    "cos_phi": 100.0,
    "energy": 100.0,
}
_HUBER_DELTA: dict[str, float] = {
    "pt": 1.0,
    "energy": 1.0,
    "eta": 0.1,
    "sin_phi": 0.1,
    "cos_phi": 0.1,
}


class Targets(NamedTuple):
    """The generator particle of each element; all zero if there is none. Energies in GeV."""

    class_id: Int[Array, "*batch elements"]
    charge: Float[Array, "*batch elements"]
    pt: Float[Array, "*batch elements"]
    eta: Float[Array, "*batch elements"]
    sin_phi: Float[Array, "*batch elements"]
    cos_phi: Float[Array, "*batch elements"]
    energy: Float[Array, "*batch elements"]


def split_targets(columns: Float[Array, "*batch elements 7"]) -> Targets:
    """Splits the columns of the data set's generator targets."""
    class_id, *regressions = jnp.moveaxis(columns, -1, 0)
    return Targets(class_id.astype(jnp.int32), *regressions)


def event_losses(
    candidates: pfnet.Candidates, targets: Targets, mask: Bool[Array, "batch elements"]
) -> dict[str, Float[Array, " batch"]]:
    """Returns each output's mean loss over all places of an event, without its coefficient."""
    return {
        name: jnp.mean(values, axis=-1)
        for name, values in _element_losses(candidates, targets, mask)
    }


def summed_losses(
    candidates: pfnet.Candidates,
    targets: Targets,
    mask: Bool[Array, "batch elements"],
    weight: Float[Array, "batch elements"],
    num_elements: int,
) -> dict[str, Float[Array, ""]]:
    """Returns the sum of `event_losses`, from weighted elements of any events.

    `num_elements` is the number of elements of an event with full padding, even if the padding is
    not present here.
    """
    return {
        name: jnp.sum(weight * values) / num_elements
        for name, values in _element_losses(candidates, targets, mask)
    }


def _element_losses(candidates, targets, mask) -> Iterator[tuple[str, Float[Array, "..."]]]:
    """Yields the loss of each output per element.

    The cross entropy is computed from the logits, as keras does inside a tf.function for any value
    of `from_logits`. The regressions count only for real elements with a particle.
    """
    log_probability = jax.nn.log_softmax(candidates.class_logits, axis=-1)
    per_element = {"cls": -_of_class(log_probability, targets.class_id)}
    per_element["charge"] = jnp.square(candidates.charge - targets.charge)
    for name, delta in _HUBER_DELTA.items():
        per_element[name] = huber(getattr(candidates, name) - getattr(targets, name), delta)
    has_particle = mask & (targets.class_id != 0)
    for name, values in per_element.items():
        yield name, jnp.where(mask if name == "cls" else has_particle, values, 0)


@jax.custom_vjp
def _of_class(
    values: Float[Array, "*batch elements classes"], class_id: Int[Array, "*batch elements"]
) -> Float[Array, "*batch elements"]:
    """Returns each element's value of its class; NaN if there is no such class.

    The gradient selects. Autodiff would scatter; for that, XLA sorts all elements on a GPU if it is
    asked for deterministic operations.
    """
    return jnp.take_along_axis(values, class_id[..., None], axis=-1)[..., 0]


def _of_class_forward(values, class_id):
    return _of_class(values, class_id), class_id


def _of_class_backward(class_id, cotangent):
    is_class = jax.nn.one_hot(class_id, pfnet.NUM_CLASSES, dtype=bool)
    return jnp.where(is_class, cotangent[..., None], 0), None


_of_class.defvjp(_of_class_forward, _of_class_backward)


def huber(error: Float[Array, "*shape"], delta: float) -> Float[Array, "*shape"]:
    """Returns error^2 / 2 up to `delta`, and the tangent line beyond it."""
    size = jnp.abs(error)
    inner = jnp.minimum(size, delta)
    return inner * (size - 0.5 * inner)


def total(losses: Mapping[str, Any]) -> Any:
    """Returns the weighted sum of the outputs' losses: arrays of any shape, on host or device."""
    parts = (coefficient * losses[name] for name, coefficient in COEFFICIENTS.items())
    return functools.reduce(operator.add, parts)
