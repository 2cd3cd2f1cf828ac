"""Criteria for agreement with published quantities: bands, verdicts, known differences."""

import dataclasses
import enum

import numpy as np

NUM_ERRORS = 3.0

# Known differences between simulated and published events; see docs/physics.md.
KNOWN_DIFFERENCES = {
    1: "about 1 % more minimum-bias activity, most of it at |eta| above 2 (Pythia 8.3)",
    2: "rare objects: one particle of the bank's 4096 pile-up collisions is 0.05 per event",
    3: "towers that share a K0S or a Lambda have their candidates matched in random order",
    4: "the published response treats outliers in an unknown way",
}


class Band(enum.Enum):
    """The tolerance for agreement, besides half of the last published digit."""

    MULTIPLICITY = "3 standard errors and 2 %"
    RARE = "12 %"
    RATE = "0.01"


class Verdict(enum.Enum):
    """The result of comparing a quantity with its band."""

    INSIDE = "inside"
    OUTSIDE = "OUTSIDE"
    UNDECIDED = "undecided"  # outside, but by less than 3 standard errors: too few events
    UNPUBLISHED = "-"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Row:
    """One quantity, measured and possibly published, with standard errors.

    `scale` is the base of the band's percentage; None means the published value. `rounding` is half
    of the last published digit. `known` is the number of the known difference to expect, 0 for
    none.
    """

    group: str
    quantity: str
    measured: float
    error: float
    published: float | None = None
    published_error: float = 0.0
    band: Band = Band.MULTIPLICITY
    scale: float | None = None
    rounding: float = 0.0
    known: int = 0

    @property
    def difference(self) -> float | None:
        """Measured minus published value."""
        return None if self.published is None else self.measured - self.published

    @property
    def combined_error(self) -> float:
        """Standard error of the difference."""
        return float(np.hypot(self.error, self.published_error))

    @property
    def half_width(self) -> float:
        """The largest difference that is inside the band."""
        scale = abs(self.published or 0.0) if self.scale is None else self.scale
        if self.band is Band.RATE:
            return 0.01 + self.rounding
        if self.band is Band.RARE:
            return 0.12 * scale + self.rounding
        return NUM_ERRORS * self.combined_error + 0.02 * scale + self.rounding

    @property
    def verdict(self) -> Verdict:
        """Whether the difference is inside or outside of the band, or needs more events."""
        if self.difference is None:
            return Verdict.UNPUBLISHED
        excess = abs(self.difference) - self.half_width
        if excess <= 0:
            return Verdict.INSIDE
        return Verdict.UNDECIDED if excess < NUM_ERRORS * self.combined_error else Verdict.OUTSIDE

    @property
    def shown_known(self) -> int:
        """`known`, if a difference shows: more than 2 standard errors beyond the rounding."""
        if self.difference is None:
            return 0
        shows = abs(self.difference) > 2 * self.combined_error + self.rounding
        return self.known if shows else 0
