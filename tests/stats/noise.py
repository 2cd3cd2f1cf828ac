"""Simulated noise of measurements: relative, about 5 %, as logarithms, the last axis in time."""

import math

import numpy as np

INDEPENDENT = ["normal", "heavy tails", "outliers"]
KINDS = [*INDEPENDENT, "correlated", "correlated with outliers"]


def first_order(rng, shape, correlation):
    """Normal noise of unit variance; neighbours have that correlation."""
    noise = rng.standard_normal(shape)
    for i in range(1, shape[-1]):
        rest = math.sqrt(1 - correlation**2)
        noise[..., i] = correlation * noise[..., i - 1] + rest * noise[..., i]
    return noise


def logs(kind, rng, shape):
    """Outliers are three times as much, one in twenty; correlated is 0.6 between neighbours."""
    if kind == "heavy tails":
        return 0.03 * rng.standard_t(3, shape)
    plain = first_order(rng, shape, 0.6 if "correlated" in kind else 0.0)
    slow = rng.random(shape) < 0.05 if "outliers" in kind else np.zeros(shape)
    return 0.05 * plain + math.log(3) * slow
