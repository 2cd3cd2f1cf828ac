"""Long series made short enough to be drawn, by a rule that hides no extreme."""

import dataclasses

import numpy as np
from jaxtyping import Float

MOST_POINTS = 200


@dataclasses.dataclass(frozen=True)
class Envelope:
    """Stretches of neighbouring values: where each is, its lowest, middle and highest value."""

    place: Float[np.ndarray, "points"]  # index, from 0; of a stretch its middle
    low: Float[np.ndarray, "points"]
    median: Float[np.ndarray, "points"]
    high: Float[np.ndarray, "points"]

    @property
    def is_condensed(self) -> bool:
        """Whether stretches hold more than one value each."""
        return bool(np.any(self.low != self.high))


def envelope(values: Float[np.ndarray, "values"], most: int = MOST_POINTS) -> Envelope:
    """Returns the values as they are up to twice `most`, else `most` stretches of equal length.

    Lengths differ by one where they cannot be equal.
    """
    count = values.size if values.size <= 2 * most else most
    stretches = np.array_split(values, count) if values.size else []
    ends = np.cumsum([stretch.size for stretch in stretches])
    sizes = np.array([stretch.size for stretch in stretches], np.float64)
    return Envelope(
        place=ends - (sizes + 1) / 2,
        low=np.array([stretch.min() for stretch in stretches], np.float64),
        median=np.array([np.median(stretch) for stretch in stretches], np.float64),
        high=np.array([stretch.max() for stretch in stretches], np.float64),
    )
