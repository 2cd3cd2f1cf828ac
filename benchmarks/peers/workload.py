"""The workload of every contender: sizes, weights and batches, in the same files.

Needs only NumPy, in any version, because it runs in the environments of all frameworks.
"""

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from mlpf_jax import config as config_lib


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Workload:
    """A network with its weights, under the reference's names, and its batches.

    `weights` also contains the fixed rotations, as <layer>/lsh/codebook.
    """

    model: config_lib.ModelConfig
    train: config_lib.TrainConfig
    weights: Mapping[str, np.ndarray]
    elements: np.ndarray  # [batches, events, elements, 12]
    targets: np.ndarray  # [batches, events, elements, 7]


def write(folder: Path, workload: Workload) -> None:
    """Writes the files into an existing folder."""
    sizes = {
        "model": dataclasses.asdict(workload.model),
        "train": dataclasses.asdict(workload.train),
    }
    (folder / "sizes.json").write_text(json.dumps(sizes))
    weights: dict[str, Any] = dict(workload.weights)
    np.savez(folder / "weights.npz", **weights)
    np.save(folder / "elements.npy", workload.elements)
    np.save(folder / "targets.npy", workload.targets)


def read(folder: Path) -> Workload:
    """Reads what `write` wrote."""
    sizes = json.loads((folder / "sizes.json").read_text())
    with np.load(folder / "weights.npz", allow_pickle=False) as file:
        weights = dict(file)
    return Workload(
        model=config_lib.ModelConfig(**sizes["model"]),
        train=config_lib.TrainConfig(**sizes["train"]),
        weights=weights,
        elements=np.load(folder / "elements.npy", allow_pickle=False),
        targets=np.load(folder / "targets.npy", allow_pickle=False),
    )
