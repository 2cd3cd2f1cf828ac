"""How far each quantity may be from the golden data, for each working precision.

The float32 tolerances come from the original's own rounding: its float32 run against its float64
run on the same weights.
"""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Tolerances:
    """What each measure may reach, for one working precision."""

    outputs: float
    energies: float  # pt and energy
    inner: float  # embeddings, encodings, decoder inputs
    adjacency: float  # absolute: close pairs cancel
    losses: float
    recall_weighted: float
    accuracy: float
    accuracy_on_ties: float
    gradients: float
    gradient_sums: float  # relative to the gradient's norm
    weights: float
    most: float  # relative, for all but 0.1 % of the elements of a full-size case


FLOAT32 = Tolerances(
    outputs=3e-4,
    energies=1e-3,
    inner=2e-3,
    adjacency=3e-2,
    losses=1e-5,
    recall_weighted=1e-6,
    accuracy=1e-12,
    accuracy_on_ties=1e-3,
    gradients=3e-3,
    gradient_sums=1e-2,
    weights=2e-4,
    most=3e-3,
)
FLOAT64 = Tolerances(
    outputs=1e-10,
    energies=1e-10,
    inner=1e-10,
    adjacency=1e-10,
    losses=5e-8,  # keras keeps Huber's delta in float32
    recall_weighted=1e-9,
    accuracy=1e-9,
    accuracy_on_ties=1e-9,
    gradients=1e-7,
    gradient_sums=1e-6,
    weights=1e-6,
    most=1e-10,
)
