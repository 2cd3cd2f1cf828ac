"""The interface of contenders, and the list of them.

Imported in every environment, so frameworks are imported only by `make`.
"""

import dataclasses
import importlib
from collections.abc import Mapping
from typing import Any, Literal, Protocol, runtime_checkable

import numpy as np

from benchmarks.peers import workload as workload_lib

Batch = Any  # on the device, in the framework's own type
Device = Literal["cpu", "gpu"]
Sums = Any  # losses and counts of a step on the device, possibly not computed yet


@runtime_checkable
class Contender(Protocol):
    """The network in one framework, with its optimiser, as the benchmark's two phases use it.

    As in our network, a step returns the mean loss per output and the counts of real elements by
    true and predicted class.
    """

    def put(self, elements: np.ndarray, targets: np.ndarray) -> Batch:
        """Places a batch on the device."""
        ...

    def train(self, batch: Batch) -> Sums:
        """Updates the weights with one batch."""
        ...

    def infer(self, batch: Batch) -> Sums:
        """Runs the network on one batch, without updates."""
        ...

    def wait(self, sums: Sums) -> None:
        """Waits until the step that returned these is done, including its new weights."""
        ...

    def fetch(self, sums: Sums) -> tuple[dict[str, float], np.ndarray]:
        """Returns a step's losses by name, with `total`, and [true, predicted]."""
        ...

    def peak_bytes(self) -> int | None:
        """Returns the peak memory of the device so far; None if that is the process's own."""
        ...

    def versions(self) -> dict[str, str]:
        """Returns the versions for the result: name of a package -> its version."""
        ...


@runtime_checkable
class Provable(Contender, Protocol):
    """A contender that provides intermediate values, for comparison with golden data."""

    def outputs(self, batch: Batch) -> dict[str, np.ndarray]:
        """Returns `logits` and the outputs by the reference's names, [events, elements, _]."""
        ...

    def gradients(self, batch: Batch) -> dict[str, np.ndarray]:
        """Returns the gradient of the total loss, by the reference's names of the weights."""
        ...

    def weights(self) -> dict[str, np.ndarray]:
        """Returns the trainable weights by the reference's names."""
        ...


@dataclasses.dataclass(frozen=True)
class Entry:
    """The location of a contender."""

    environment: str | None  # name of its folder in .peers; None: that of this project
    package: str  # that it needs
    module: str  # has build(workload, num_threads, compiled, device) -> Contender
    compiled: bool  # by the framework's compiler for whole graphs


OURS = "jax"
OURS_TIGHT = "jax-tight"  # the same with --padding=tight: less work, so compared separately
OWN = (OURS, OURS_TIGHT)
ENTRIES: Mapping[str, Entry] = {
    OURS: Entry(None, "jax", "benchmarks.peers.ours", compiled=True),
    OURS_TIGHT: Entry(None, "jax", "benchmarks.peers.ours_tight", compiled=True),
    "pytorch-eager": Entry(
        "pytorch", "torch", "benchmarks.peers.pytorch.contender", compiled=False
    ),
    "pytorch-compile": Entry(
        "pytorch", "torch", "benchmarks.peers.pytorch.contender", compiled=True
    ),
    "tensorflow-function": Entry(
        "tensorflow", "tensorflow", "benchmarks.peers.tensorflow.contender", compiled=False
    ),
    "tensorflow-xla": Entry(
        "tensorflow", "tensorflow", "benchmarks.peers.tensorflow.contender", compiled=True
    ),
}
PEERS = tuple(name for name in ENTRIES if name not in OWN)


def make(
    name: str, workload: workload_lib.Workload, num_threads: int, device: Device = "cpu"
) -> Contender:
    """Builds a contender; imports its framework."""
    entry = ENTRIES[name]
    module = importlib.import_module(entry.module)
    return module.build(workload, num_threads=num_threads, compiled=entry.compiled, device=device)
