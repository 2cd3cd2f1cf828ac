"""Counts rows that no detector or generator produces. A set with such rows can still be read."""

from collections.abc import Mapping

import numpy as np

from mlpf_jax.events import store

KINDS = (
    "elements beyond |eta| 5.5",
    "elements without energy or pT",
    "elements whose azimuth is off the circle",
    "tracks behind a tower",
    "targets beyond |eta| 12",
    "targets without energy or pT",
    "targets whose azimuth is off the circle",
    "targets of less energy than momentum",
)
_CIRCLE_TOLERANCE, _MASS_SHELL_TOLERANCE = 1e-3, 1e-3
_TRACK = 2
_PT, _ETA, _SIN, _COS, _ENERGY = 1, 2, 3, 4, 5  # columns of elements, and of targets[1:]


def count(event: store.Event) -> Mapping[str, int]:
    """Returns the number of implausible rows of an event, by problem."""
    elements = event.elements.astype(np.float64)
    targets = event.targets[event.targets[:, 0] > 0].astype(np.float64)[:, 1:]
    is_track = elements[:, 0] == _TRACK
    wrong = (
        np.abs(elements[:, _ETA]) > 5.5,
        (elements[:, [_PT, _ENERGY]] <= 0).any(axis=1),
        _is_off_circle(elements),
        is_track & (np.cumsum(~is_track) > 0),
        np.abs(targets[:, _ETA]) > 12.0,
        (targets[:, [_PT, _ENERGY]] <= 0).any(axis=1),
        _is_off_circle(targets),
        _is_below_mass_shell(targets),
    )
    return {kind: int(np.count_nonzero(rows)) for kind, rows in zip(KINDS, wrong, strict=True)}


def _is_off_circle(rows: np.ndarray) -> np.ndarray:
    return np.abs(rows[:, _SIN] ** 2 + rows[:, _COS] ** 2 - 1) > _CIRCLE_TOLERANCE


def _is_below_mass_shell(rows: np.ndarray) -> np.ndarray:
    momentum = rows[:, _PT] * np.cosh(np.clip(rows[:, _ETA], -30.0, 30.0))
    return rows[:, _ENERGY] < momentum * (1 - _MASS_SHELL_TOLERANCE)
