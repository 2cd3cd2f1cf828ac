"""Validates events of the public Delphes files: shapes, finite numbers, types and classes.

It does not check whether values are plausible or how the rows are sorted.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float32, Shaped

from mlpf_jax.events import store

MAX_ROWS = 2**20  # maximum rows of an event
# Allowed numbers of columns. The eighth column, in delphes_pf 1.1.0, is the number of a jet.
COLUMNS = {"X": (12,), "ygen": (7, 8), "ycand": (7, 8)}

_PADDING = 0
_TYPES = (_PADDING, 1, 2)  # of an element: tower, track
_CLASSES = (0, 1, 2, 3, 4, 5)  # none, charged hadron, neutral hadron, photon, electron, muon


def make_event(arrays: Mapping[str, Any]) -> store.Event:
    """Returns an event from the arrays X, ygen and ycand, without padding and jets.

    Each is an array of any type of number, or a list of lists.

    Raises:
        ValueError: if they do not match the schema; the message is one line with the problem and
            its place.
    """
    columns = {name: _numbers(name, arrays[name]) for name in COLUMNS}
    for name, array in columns.items():
        if len(array) != len(columns["X"]):
            raise ValueError(f"{name} has {len(array)} rows, X has {len(columns['X'])}.")
    _check_first_column("X", "type", columns["X"], _TYPES)
    for name in ("ygen", "ycand"):
        _check_first_column(name, "class", columns[name], _CLASSES)
    real = columns["X"][:, 0] != _PADDING
    if not real.any():
        raise ValueError("it has no elements.")
    return store.Event(
        elements=columns["X"][real],
        targets=columns["ygen"][real, :7],
        candidates=columns["ycand"][real, :7],
    )


def _numbers(name: str, values: Any) -> Float32[np.ndarray, "rows columns"]:
    """Returns an array, or a list of lists, as finite float32 of the right width."""
    _check_length(name, values)
    if type(values) is list:
        values = _array_of_lists(name, values)
    if values.dtype.kind not in "fiu":
        raise ValueError(f"{name} is not an array of numbers.")
    if values.ndim != 2 or values.shape[1] not in COLUMNS[name]:
        wanted = " or ".join(f"(rows, {width})" for width in COLUMNS[name])
        raise ValueError(f"{name} has the shape {values.shape}, not {wanted}.")
    with np.errstate(over="ignore", invalid="ignore"):  # overflow, and a signalling NaN
        numbers = values.astype(np.float32)
    bad = np.argwhere(~np.isfinite(numbers))
    if len(bad):
        row, column = bad[0].tolist()
        what = values[row, column]
        raise ValueError(f"{name} has {what} in row {row}, column {column}: not a finite float32.")
    return numbers


def _check_length(name: str, values: Any) -> None:
    if not isinstance(values, list | np.ndarray) or getattr(values, "ndim", 1) == 0:
        raise ValueError(f"{name} is not an array of numbers.")
    if len(values) > MAX_ROWS:
        raise ValueError(f"{name} has {len(values)} rows, more than the limit of {MAX_ROWS}.")


def _array_of_lists(name: str, rows: list[Any]) -> Shaped[np.ndarray, "rows columns"]:
    """Returns the array of a list of rows. Checks the rows first: a list can contain itself."""
    width = len(rows[0]) if rows and type(rows[0]) is list else COLUMNS[name][0]
    for row in rows:
        if type(row) is not list or len(row) != width or width not in COLUMNS[name]:
            raise ValueError(
                f"{name} is not an array of numbers: its rows are not lists of equal length."
            )
        if not all(type(value) in (float, int) for value in row):
            raise ValueError(f"{name} is not an array of numbers.")
    try:
        return np.array(rows, np.float64).reshape(len(rows), width)
    except OverflowError:
        raise ValueError(f"{name} has a number that is not a finite float32.") from None


def _check_first_column(
    name: str, what: str, array: Float32[np.ndarray, "rows columns"], admitted: Sequence[int]
) -> None:
    bad = np.flatnonzero(~np.isin(array[:, 0], admitted))
    if len(bad):
        raise ValueError(
            f"{name} has the {what} {array[bad[0], 0]:g} in row {bad[0]}, allowed are "
            f"{', '.join(map(str, admitted))}."
        )
