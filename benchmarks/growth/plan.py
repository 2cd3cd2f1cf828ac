"""The axes, their points, and what the runs of a point are given."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Literal

AxisName = Literal["batch", "elements", "bin_size", "devices", "layers"]

_NUM_STEPS, _NUM_INFER_SAMPLES = 7, 4


@dataclasses.dataclass(frozen=True)
class Axis:
    """What is varied: flags of the run that all get the value."""

    flags: tuple[str, ...]
    label: str
    values: tuple[int, ...]  # of the published network at 6400 elements


AXES: Mapping[str, Axis] = {
    "batch": Axis(("batch_size",), "events per step", (1, 2, 4, 8, 16, 32, 64)),
    "elements": Axis(
        ("num_elements",), "elements per event", (1280, 2560, 5120, 6400, 12_800, 25_600)
    ),
    "bin_size": Axis(("bin_size",), "elements per bin", (64, 128, 320, 640, 1280, 3200)),
    "devices": Axis(("num_devices",), "virtual devices", (1, 2, 4, 8)),
    "layers": Axis(("num_id_layers", "num_energy_layers"), "layers per chain", (1, 2, 3, 4, 6)),
}


@dataclasses.dataclass(frozen=True)
class Plan:
    """One study: an axis, its points, and the settings that all runs share."""

    axis: AxisName
    values: tuple[int, ...]
    repeats: int
    settings: tuple[str, ...]  # as mlpf_jax.main takes them; the varied flags win
    batch_size: int = 1
    num_steps: int = _NUM_STEPS

    def __post_init__(self):
        if len(set(self.values)) < 3 or min(self.values) < 1:
            raise ValueError("--values: a law takes at least three different sizes from 1 on.")
        if self.num_steps < 4:
            raise ValueError(f"--num_steps={self.num_steps}: must be at least 4.")
        if self.batch_size < 1:
            raise ValueError(f"--batch={self.batch_size}: must be at least 1.")

    def order(self) -> list[tuple[int, int]]:
        """Returns (round, value) in turns, every second round backwards: a drift hits all alike."""
        return [
            (number, value)
            for number in range(self.repeats)
            for value in (self.values if number % 2 == 0 else reversed(self.values))
        ]

    def arguments(self, value: int, number: int) -> list[str]:
        """Returns the arguments of a run; what all its steps see are full batches."""
        batch_size = value if self.axis == "batch" else self.batch_size
        num_devices = value if self.axis == "devices" else 1
        together = batch_size * num_devices
        given = {
            "batch_size": batch_size,
            "num_devices": num_devices,
            "num_train_events": 2 * together,
            "num_test_events": together,
            "num_steps": self.num_steps,
            "num_infer_samples": _NUM_INFER_SAMPLES,
            "seed": number + 1,
        } | dict.fromkeys(AXES[self.axis].flags, value)
        return [*self.settings, *(f"--{name}={number}" for name, number in given.items())]


def parse_values(words: Sequence[str], axis: str) -> tuple[int, ...]:
    """Returns the sizes that were asked for, in order, or the axis' own.

    Raises:
        ValueError: if one is no whole number.
    """
    try:
        return tuple(sorted({int(word) for word in words})) or AXES[axis].values
    except ValueError:
        raise ValueError(f"--values={','.join(words)}: must be whole numbers.") from None
