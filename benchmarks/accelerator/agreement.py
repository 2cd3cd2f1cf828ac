"""How far a computation in some precision may be from the golden data, and how far it is."""

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np

from mlpf_jax import config as config_lib
from mlpf_jax.verify import computed as computed_lib


@dataclasses.dataclass(frozen=True)
class Limits:
    """The largest relative differences that count as agreement."""

    losses: float  # of the first step
    outputs: float  # norm of the difference over the norm, the worst output
    gradients: float  # the same of all gradients together


# Three to five times the differences with products rounded on a CPU: docs/accelerators.md.
LIMITS: dict[config_lib.Precision, Limits] = {
    "float32": Limits(losses=1e-5, outputs=1e-3, gradients=1e-3),
    "tf32": Limits(losses=1e-3, outputs=2.5e-2, gradients=4e-3),
    "bf16": Limits(losses=1e-2, outputs=3e-1, gradients=4e-2),
}


def differences(expected: Mapping[str, np.ndarray], computed: computed_lib.Computed) -> Limits:
    """Returns the differences of a computation from a golden file's arrays."""

    def of_norm(pairs: Sequence[tuple[np.ndarray, np.ndarray]]) -> float:
        square = sum(float(np.sum((a - b.astype(np.float64)) ** 2)) for a, b in pairs)
        return (square / sum(float(np.sum(b.astype(np.float64) ** 2)) for _, b in pairs)) ** 0.5

    losses = [
        abs(value / float(expected[f"loss/{name}"]) - 1)
        for name, value in computed.losses[0].items()
    ]
    outputs = [
        of_norm([(value, expected[f"out/{name}"])]) for name, value in computed.outputs.items()
    ]
    gradients = [(value, expected[f"grads/{name}"]) for name, value in computed.gradients.items()]
    return Limits(max(losses), max(outputs), of_norm(gradients))


def agrees(measured: Limits, precision: config_lib.Precision) -> bool:
    """Whether no difference exceeds its limit; a NaN does not agree."""
    pairs = zip(dataclasses.astuple(measured), dataclasses.astuple(LIMITS[precision]), strict=True)
    return all(value <= limit for value, limit in pairs)
