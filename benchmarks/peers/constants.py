"""Numbers of the published configuration, for every framework.

Source: parameters/delphes-benchmark.yaml and keras' defaults, as the reference uses them.
"""

from collections.abc import Mapping

# Weight of each output in the total.
COEFFICIENTS: Mapping[str, float] = {
    "cls": 1.0,
    "charge": 1.0,
    "pt": 100.0,
    "eta": 100.0,
    "sin_phi": 100.0,
    "cos_phi": 100.0,
    "energy": 100.0,
}
# Where the Huber loss becomes a straight line; the charge has a squared error.
HUBER_DELTA: Mapping[str, float] = {
    "pt": 1.0,
    "energy": 1.0,
    "eta": 0.1,
    "sin_phi": 0.1,
    "cos_phi": 0.1,
}
# Columns of the targets behind the class.
REGRESSIONS = ("charge", "pt", "eta", "sin_phi", "cos_phi", "energy")

LAYER_NORM_EPSILON = 1e-3
ID_SHARPNESS = 100.0  # sharpness of the choice among the energies of the classes
BETAS, ADAM_EPSILON = (0.9, 0.999), 1e-7
