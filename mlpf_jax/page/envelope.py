"""Condenses long series for drawing without hiding extremes."""

import dataclasses

import numpy as np
from jaxtyping import Float

MOST_POINTS = 200


@dataclasses.dataclass(frozen=True)
class Envelope:
    """Stretches of neighbouring values, with their position, minimum, median and maximum."""

    place: Float[np.ndarray, "points"]  # index from 0; the middle of a stretch
    low: Float[np.ndarray, "points"]
    median: Float[np.ndarray, "points"]
    high: Float[np.ndarray, "points"]

    @property
    def is_condensed(self) -> bool:
        """Whether stretches contain more than one value each."""
        return bool(np.any(self.low != self.high))


def envelope(values: Float[np.ndarray, "values"], most: int = MOST_POINTS) -> Envelope:
    """Returns up to 2 * `most` values unchanged, and otherwise `most` stretches of equal length.

    Lengths differ by at most one. Unknown values, NaN, hide no known ones of their stretch.
    """
    count = values.size if values.size <= 2 * most else most
    stretches = np.array_split(values, count) if values.size else []
    ends = np.cumsum([stretch.size for stretch in stretches])
    sizes = np.array([stretch.size for stretch in stretches], np.float64)
    known = [_known(stretch) for stretch in stretches]
    return Envelope(
        place=ends - (sizes + 1) / 2,
        low=np.array([stretch.min() for stretch in known], np.float64),
        median=np.array([np.median(stretch) for stretch in known], np.float64),
        high=np.array([stretch.max() for stretch in known], np.float64),
    )


def _known(stretch: Float[np.ndarray, "values"]) -> Float[np.ndarray, "known"]:
    known = stretch[~np.isnan(stretch)]
    return known if known.size else stretch
