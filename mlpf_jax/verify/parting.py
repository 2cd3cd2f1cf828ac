"""Where two runs part: the first step with another loss, and the weights that differ at the end."""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from mlpf_jax.training import checkpoint, checkpoint_folder


@dataclasses.dataclass(frozen=True)
class Course:
    """What a run has computed, from its newest checkpoint."""

    losses: Sequence[Mapping[str, float]]  # of every step, by name
    batches: Sequence[str]  # digest of every step's events
    accuracies: Sequence[float]  # validation, after every epoch
    weights: Mapping[str, np.ndarray]  # after the last step


@dataclasses.dataclass(frozen=True)
class Parting:
    """The differences between two runs; None and 0: no difference."""

    events_step: int | None  # first step with other events
    loss_step: int | None  # first step with another loss
    loss_name: str  # of the losses there, the one that differs most
    loss_ulps: int
    last_step_relative: float  # largest relative difference of a loss in the last step
    num_weights: int  # tensors that differ
    weight_name: str  # the one that differs most
    weight_ulps: int
    accuracy: float  # largest difference after an epoch

    @property
    def is_identical(self) -> bool:
        """Whether every loss of every step and every weight has the same bits."""
        return self.events_step is None and self.loss_step is None and not self.num_weights

    def __str__(self) -> str:
        if self.is_identical:
            return "bit-identical"
        told = []
        if self.events_step is not None:
            told.append(f"other events from step {self.events_step}")
        if self.loss_step is not None:
            told.append(
                f"parts at step {self.loss_step} in loss {self.loss_name} by {self.loss_ulps} ulps"
            )
        if self.num_weights:
            told.append(
                f"{self.num_weights} weights differ, most {self.weight_name} by "
                f"{self.weight_ulps} ulps"
            )
        return "; ".join(told)


def read(folder: Path) -> Course:
    """Returns the course of the run whose checkpoints are in `folder`.

    Raises:
        ValueError: if there is no checkpoint, or the newest is damaged.
    """
    steps = checkpoint_folder.steps(folder)
    if not steps:
        raise ValueError(f"{folder}: no checkpoint is there.")
    path = folder / str(steps[0])
    try:
        checkpoint.verify(path)
        track = checkpoint.read_record(path)["track"]
        return Course(
            losses=track["losses"],
            batches=track["batches"],
            accuracies=[epoch["validation"]["accuracy"] for epoch in track["epochs"]],
            weights=checkpoint.read_weights(path),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path}: {error}") from None


def compare(a: Course, b: Course) -> Parting:
    """Compares two runs, step by step.

    Raises:
        ValueError: if they differ in steps, losses or weights, so that there is nothing to compare.
    """
    if len(a.losses) != len(b.losses):
        raise ValueError(f"{len(a.losses)} steps there, {len(b.losses)} here.")
    if _shapes(a.weights) != _shapes(b.weights):
        raise ValueError("of another network.")
    apart = [_farthest(x, y) for x, y in zip(a.losses, b.losses, strict=True)]
    weights = {name: ulps(a.weights[name], b.weights[name]) for name in a.weights}
    worst = max(weights, key=weights.__getitem__)
    first = next((i for i, (_, far) in enumerate(apart) if far), None)
    return Parting(
        events_step=next(
            (i + 1 for i, (x, y) in enumerate(zip(a.batches, b.batches, strict=True)) if x != y),
            None,
        ),
        loss_step=None if first is None else first + 1,
        loss_name="" if first is None else apart[first][0],
        loss_ulps=0 if first is None else apart[first][1],
        last_step_relative=_relative(a.losses[-1], b.losses[-1]),
        num_weights=sum(a.weights[n].tobytes() != b.weights[n].tobytes() for n in a.weights),
        weight_name=worst,
        weight_ulps=weights[worst],
        accuracy=float(np.max(np.abs(np.subtract(a.accuracies, b.accuracies)), initial=0.0)),
    )


def ulps(a: np.ndarray, b: np.ndarray) -> int:
    """Returns the largest distance of two arrays in units in the last place of float32.

    It is the number of float32 values between them. Both zeros are one value, as are all NaNs, one
    place beyond infinity.
    """
    apart = np.abs(_places(a) - _places(b))
    return int(np.max(apart, initial=0))


def _places(values: np.ndarray) -> np.ndarray:
    """Numbers the float32 values in their order."""
    values = np.asarray(values, np.float32)
    bits = np.where(np.isnan(values), np.float32(np.nan), values).view(np.int32).astype(np.int64)
    return np.where(bits < 0, -(2**31) - bits, bits)


def _farthest(a: Mapping[str, float], b: Mapping[str, float]) -> tuple[str, int]:
    if a.keys() != b.keys():
        raise ValueError("of another network: it has other losses.")
    far = {name: ulps(np.array(a[name]), np.array(b[name])) for name in a}
    name = max(far, key=far.__getitem__)
    return name, far[name]


def _relative(a: Mapping[str, float], b: Mapping[str, float]) -> float:
    return max(abs(a[name] - b[name]) / max(abs(a[name]), 1e-30) for name in a)


def _shapes(weights: Mapping[str, np.ndarray]) -> dict[str, tuple[int, ...]]:
    return {name: np.shape(value) for name, value in weights.items()}
