"""The particles of a collision, one column per quantity."""

import dataclasses
import functools

import numpy as np
from jaxtyping import Float64, Int8, Int32, Int64

from mlpf_jax.simulation import portable


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Particles:
    """Stable particles at production: momenta in GeV, positions in mm.

    `pdg_id` follows the Monte Carlo numbering of the Particle Data Group, `charge` is in units of
    the positron's.
    """

    pdg_id: Int32[np.ndarray, " particles"]
    charge: Int8[np.ndarray, " particles"]
    px: Float64[np.ndarray, " particles"]
    py: Float64[np.ndarray, " particles"]
    pz: Float64[np.ndarray, " particles"]
    energy: Float64[np.ndarray, " particles"]
    x: Float64[np.ndarray, " particles"]
    y: Float64[np.ndarray, " particles"]
    z: Float64[np.ndarray, " particles"]

    def __len__(self) -> int:
        return len(self.pdg_id)

    def take(self, indices: Int64[np.ndarray, " taken"]) -> "Particles":
        """Returns the particles at the given indices, which may repeat."""
        columns = dataclasses.fields(self)
        return Particles(**{c.name: getattr(self, c.name).take(indices) for c in columns})

    @functools.cached_property
    def abs_pdg_id(self) -> Int32[np.ndarray, " particles"]:
        """The PDG code without its sign."""
        return np.abs(self.pdg_id)

    @functools.cached_property
    def pt(self) -> Float64[np.ndarray, " particles"]:
        """Transverse momentum in GeV."""
        return portable.hypot(self.px, self.py)

    @functools.cached_property
    def phi(self) -> Float64[np.ndarray, " particles"]:
        """Azimuth of the momentum at production."""
        return portable.atan2(self.py, self.px)

    @functools.cached_property
    def eta(self) -> Float64[np.ndarray, " particles"]:
        """Pseudorapidity of the momentum at production."""
        return portable.pseudorapidity(self.px, self.py, self.pz)


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class TruthEvents:
    """Collisions of one process; event i has the particles offsets[i] to offsets[i + 1]."""

    particles: Particles
    offsets: Int64[np.ndarray, " events_plus_1"]

    @property
    def num_events(self) -> int:
        """Number of collisions."""
        return len(self.offsets) - 1


def concatenate(first: Particles, second: Particles) -> Particles:
    """Returns the particles of both sets, in order."""
    columns = [c.name for c in dataclasses.fields(Particles)]
    pairs = {name: (getattr(first, name), getattr(second, name)) for name in columns}
    return Particles(**{name: np.concatenate(pair) for name, pair in pairs.items()})
