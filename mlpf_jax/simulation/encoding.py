"""The encoding of truth particles: 7 bytes each, in quantised columns.

The columns of a process are `code` (species number, 1 byte), `pt` (log2 of pT), `eta` and `phi` (2
bytes each), `n` (particles per event), and for the few particles produced more than 50 um from
their collision `vi` (index) and `v` (x, y, z in mm). Steps: pT 0.03 %, eta 1.6e-4, phi 1e-4.
Decoding uses exact arithmetic and gives the same result on every machine.
"""

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float64, Int64, Shaped

from mlpf_jax.simulation import particles, portable, species

_DTYPES = {
    "code": "|u1",
    "pt": "<u2",
    "eta": "<u2",
    "phi": "<u2",
    "n": "<u2",
    "vi": "<u4",
    "v": "<f4",
}
_STEPS = 65536
# (lowest value, range) of the quantised columns.
_LOG2_PT = (-15.0, 30.0)
_ETA = (-5.4, 10.8)
_PHI = (-portable.PI, 2 * portable.PI)
_LN2 = 0.6931471805599453

# Particles beyond this cannot reach |eta| = 5 on the calorimeter's face from any vertex.
_MAX_ABS_ETA = 5.35
_MIN_PT_GEV = 4e-5
_MIN_DISPLACEMENT_MM = 0.05  # far below what the detector resolves


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class EncodedEvents:
    """Quantised collisions in consistent columns, as described in the module's docstring.

    Raises:
        ValueError: if the columns are inconsistent; the message names the column.
    """

    code: np.ndarray
    pt: np.ndarray
    eta: np.ndarray
    phi: np.ndarray
    n: np.ndarray
    vi: np.ndarray
    v: np.ndarray

    def __post_init__(self):
        for name, dtype in _DTYPES.items():
            if (found := getattr(self, name).dtype.str) != dtype:
                raise ValueError(f"the column {name} has the type {found}, not {dtype}")
        num_particles = int(self.n.sum(dtype=np.int64))
        columns = (self.code, self.pt, self.eta, self.phi)
        if self.n.ndim != 1 or any(c.shape != (num_particles,) for c in columns):
            raise ValueError("the columns differ in length")
        if num_particles and self.code.max() >= len(species.PDG_ID):
            raise ValueError("the column code names an unknown species")
        fits = self.vi.ndim == 1 and self.v.shape == (len(self.vi), 3)
        if not fits or (len(self.vi) and self.vi.max() >= num_particles):
            raise ValueError("the displaced vertices (vi, v) do not fit the particles")
        if not np.isfinite(self.v).all():
            raise ValueError("the column v has numbers that are not finite")

    @property
    def num_events(self) -> int:
        """Number of collisions."""
        return len(self.n)

    @property
    def columns(self) -> dict[str, np.ndarray]:
        """The columns by name."""
        return {name: getattr(self, name) for name in _DTYPES}

    def take(self, events: Int64[np.ndarray, " taken"]) -> "EncodedEvents":
        """Returns the collisions with the given ascending indices."""
        is_taken = np.zeros(self.num_events, bool)
        is_taken[events] = True
        kept = np.repeat(is_taken, self.n)
        new_index = np.cumsum(kept) - 1
        displaced = kept[self.vi]
        return EncodedEvents(
            **{name: getattr(self, name)[kept] for name in ("code", "pt", "eta", "phi")},
            n=self.n[is_taken],
            vi=new_index[self.vi[displaced]].astype(np.uint32),
            v=self.v[displaced],
        )


def from_columns(columns: Mapping[str, np.ndarray], *, prefix: str = "") -> EncodedEvents:
    """Takes the columns named prefix + name.

    Raises:
        ValueError: if a column is missing, or the columns are inconsistent.
    """
    if missing := [prefix + name for name in _DTYPES if prefix + name not in columns]:
        raise ValueError(f"the column {missing[0]} is missing")
    return EncodedEvents(**{name: columns[prefix + name] for name in _DTYPES})


def concatenate(parts: Sequence[EncodedEvents]) -> EncodedEvents:
    """Returns the collisions of all parts, in order."""
    firsts = np.cumsum([0, *(len(part.code) for part in parts[:-1])])
    indices = [part.vi + first for part, first in zip(parts, firsts.tolist(), strict=True)]
    joined = {name: np.concatenate([getattr(p, name) for p in parts]) for name in _DTYPES}
    return EncodedEvents(**joined | {"vi": np.concatenate(indices).astype(np.uint32)})


def encode(events: particles.TruthEvents) -> EncodedEvents:
    """Quantises collisions.

    Vertices are relative to the z of each collision's first particle. Neutrinos and particles
    outside of the detector's acceptance (|eta| above 5.35, pT below 40 keV) are dropped.
    """
    produced, offsets = events.particles, events.offsets
    event = np.repeat(np.arange(events.num_events), np.diff(offsets))
    code = _species_number(produced.pdg_id)
    pt = np.hypot(produced.px, produced.py)
    eta = np.arcsinh(produced.pz / np.maximum(pt, 1e-12))
    keep = (np.abs(eta) < _MAX_ABS_ETA) & (pt > _MIN_PT_GEV) & (code >= 0)
    z = produced.z - produced.z[offsets[:-1]][event]
    vertex = np.stack([produced.x, produced.y, z], axis=1)[keep].astype(np.float32)
    displaced = np.flatnonzero(np.abs(vertex).max(axis=1, initial=0.0) > _MIN_DISPLACEMENT_MM)
    return EncodedEvents(
        code=code[keep].astype(np.uint8),
        pt=_quantise(np.log2(pt[keep]), _LOG2_PT),
        eta=_quantise(eta[keep], _ETA),
        phi=_quantise(np.arctan2(produced.py, produced.px)[keep], _PHI),
        n=np.bincount(event[keep], minlength=events.num_events).astype(np.uint16),
        vi=displaced.astype(np.uint32),
        v=vertex[displaced],
    )


def decode(encoded: EncodedEvents) -> particles.TruthEvents:
    """Converts columns to momenta, with exact arithmetic only."""
    code = encoded.code
    log2_pt = (encoded.pt.astype(np.float64) + 0.5) * (_LOG2_PT[1] / _STEPS * _LN2)
    pt = portable.exp(log2_pt + _LOG2_PT[0] * _LN2)
    sinh_eta, cosh_eta = portable.sinh_cosh(_bin_centres(encoded.eta, _ETA))
    sin_phi, cos_phi = portable.sin_cos(_bin_centres(encoded.phi, _PHI))
    momentum, mass = pt * cosh_eta, species.MASS_GEV[code]
    vertex = np.zeros((3, len(code)))
    vertex[:, encoded.vi] = encoded.v.T
    x, y, z = vertex
    return particles.TruthEvents(
        particles=particles.Particles(
            pdg_id=species.PDG_ID[code],
            charge=species.CHARGE[code],
            px=pt * cos_phi,
            py=pt * sin_phi,
            pz=pt * sinh_eta,
            energy=np.sqrt(momentum * momentum + mass * mass),
            x=x,
            y=y,
            z=z,
        ),
        offsets=np.concatenate([[0], np.cumsum(encoded.n.astype(np.int64))]),
    )


def _species_number(pdg_id: np.ndarray) -> Int64[np.ndarray, " particles"]:
    """Returns each particle's index in the species tables, or -1 if it is not listed."""
    order = np.argsort(species.PDG_ID)
    place = np.searchsorted(species.PDG_ID, pdg_id, sorter=order).clip(max=len(order) - 1)
    return np.where(species.PDG_ID[order[place]] == pdg_id, order[place], -1)


def _quantise(
    values: Float64[np.ndarray, " particles"], scale: tuple[float, float]
) -> Shaped[np.ndarray, " particles"]:
    lowest, extent = scale
    steps = np.floor((values - lowest) / (extent / _STEPS))
    return np.clip(steps, 0, _STEPS - 1).astype(np.uint16)


def _bin_centres(
    steps: Shaped[np.ndarray, " particles"], scale: tuple[float, float]
) -> Float64[np.ndarray, " particles"]:
    lowest, extent = scale
    return (steps.astype(np.float64) + 0.5) * (extent / _STEPS) + lowest
