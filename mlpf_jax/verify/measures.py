"""Measures of the difference between two arrays, and of the LSH bins of elements."""

from typing import Any

import numpy as np

MOST = 0.999  # the share of elements that must agree if single ones may differ


def hash_margin(embedding: np.ndarray, rotations: np.ndarray) -> np.ndarray:
    """Returns the margin of each element's best score over its second best."""
    projection = embedding.astype(np.float64) @ rotations
    scores = np.sort(np.concatenate([projection, -projection], axis=-1), axis=-1)
    return scores[..., -1] - scores[..., -2]


def by_element(values: np.ndarray, bins: np.ndarray) -> np.ndarray:
    """Reorders values from places in bins to the order of elements."""
    flat = bins.reshape(len(bins), -1)
    result = np.empty(flat.shape, values.dtype)
    np.put_along_axis(result, flat, values.reshape(flat.shape), axis=-1)
    return result


def chunk_of_element(bins: np.ndarray) -> np.ndarray:
    """Returns the bin number of each element, per event."""
    num_events, num_bins, size = bins.shape
    chunks = np.broadcast_to(np.repeat(np.arange(num_bins), size), (num_events, num_bins * size))
    result = np.empty_like(chunks)
    np.put_along_axis(result, bins.reshape(num_events, -1), chunks, axis=-1)
    return result


def max_abs(ours: np.ndarray, expected: np.ndarray) -> float:
    """Returns the largest absolute difference."""
    return float(np.max(np.abs(ours - expected), initial=0.0))


def rel(ours: np.ndarray, expected: np.ndarray) -> float:
    """Returns the largest absolute difference over the largest absolute expected value."""
    return _ratio(np.max(np.abs(ours - expected)), np.max(np.abs(expected)))


def rel_of_most(ours: np.ndarray, expected: np.ndarray) -> float:
    """Returns `rel` without the share 1 - MOST of the elements that differ most."""
    return _ratio(np.quantile(np.abs(ours - expected), MOST), np.max(np.abs(expected)))


def l2(ours: np.ndarray, expected: np.ndarray) -> float:
    """Returns the norm of the difference over the expected norm."""
    return _ratio(np.linalg.norm(ours - expected), np.linalg.norm(expected))


def _ratio(difference: Any, size: Any) -> float:
    return float(difference / size) if size else float(difference)
