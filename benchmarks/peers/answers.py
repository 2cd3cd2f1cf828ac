"""Computes a contender's results for a golden case in its own environment, as one file.

    python -m benchmarks.peers.answers NAME FOLDER OUT.npz

FOLDER contains a workload with the case as its first batch. `prove` runs this and checks the file.
"""

import json
import sys
from pathlib import Path

import numpy as np

from benchmarks.peers import contender as contender_lib
from benchmarks.peers import workload as workload_lib

_NUM_UPDATES = 3


def compute(contender: contender_lib.Provable, workload: workload_lib.Workload) -> dict:
    """Returns outputs, gradients, and losses, counts and weights over three updates, by key."""
    batch = contender.put(workload.elements[0], workload.targets[0])
    arrays = {f"out/{name}": value for name, value in contender.outputs(batch).items()}
    arrays |= {f"grads/{name}": value for name, value in contender.gradients(batch).items()}
    inferred, _ = contender.fetch(contender.infer(batch))
    losses, counts = [], []
    for number in range(1, _NUM_UPDATES + 1):
        step_losses, step_counts = contender.fetch(contender.train(batch))
        losses.append(step_losses)
        counts.append(step_counts)
        weights = contender.weights()
        arrays |= {f"weights_step{number}/{name}": value for name, value in weights.items()}
    arrays["losses"] = np.array(json.dumps([inferred, *losses]))
    return arrays | {"counts": np.array(counts)}


def main() -> None:
    """Computes and writes."""
    name, folder, out = sys.argv[1:]
    workload = workload_lib.read(Path(folder))
    contender = contender_lib.make(name, workload, num_threads=1)
    if not isinstance(contender, contender_lib.Provable):
        sys.exit(f"error: {name} does not provide intermediate values.")
    np.savez(out, **compute(contender, workload))


if __name__ == "__main__":
    main()
