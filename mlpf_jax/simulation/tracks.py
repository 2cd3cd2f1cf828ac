"""Reconstructed tracks: efficiency and resolution for charged particles.

Source: the efficiency and resolution formulas of delphes_card_CMS_PhaseII_200PU, and the
modules Efficiency, MomentumSmearing and AngularSmearing of Delphes 3.4.3pre07.
"""

import dataclasses
import functools

import numpy as np
from jaxtyping import Bool, Float64, Int64

from mlpf_jax.simulation import particles, portable, propagation, species

MAX_ABS_ETA = 2.5  # of the exit point: the end of the tracker
MIN_PT_GEV = 0.1
ANGULAR_RESOLUTION = 0.01  # of eta and of phi


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrackKind:
    """Efficiency and resolution of the tracker for a kind of charged particle.

    `efficiencies` contains, for |eta| up to 1.5 and up to 2.5, the efficiency for pT in (0.1, 1],
    in (1, high_pt] and above high_pt (GeV), which falls exponentially if `fades`. `resolutions`
    contains (a, b) for |eta| up to 0.5, 1.5 and 2.5: the relative resolution is a (+) b pT, at most
    1.
    """

    efficiencies: tuple[tuple[float, float, float], tuple[float, float, float]]
    resolutions: tuple[tuple[float, float], tuple[float, float], tuple[float, float]]
    high_pt_gev: float
    fades: bool = False


HADRON = TrackKind(
    efficiencies=((0.70, 0.95, 0.95), (0.60, 0.85, 0.85)),
    resolutions=((0.06, 1.3e-3), (0.10, 1.7e-3), (0.25, 3.1e-3)),
    high_pt_gev=1e2,
)
ELECTRON = TrackKind(
    efficiencies=((0.73, 0.95, 0.99), (0.50, 0.83, 0.90)),
    resolutions=((0.03, 1.3e-3), (0.05, 1.7e-3), (0.15, 3.1e-3)),
    high_pt_gev=1e2,
)
MUON = TrackKind(
    efficiencies=((0.75, 0.99, 0.99), (0.70, 0.98, 0.98)),
    resolutions=((0.01, 1.0e-4), (0.015, 1.5e-4), (0.025, 3.5e-4)),
    high_pt_gev=1e3,
    fades=True,
)


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Tracks:
    """Reconstructed tracks: charged hadrons first, then electrons, then muons.

    `particle` and `exit` are indices among the event's particles and their exits. `pt`, `eta` and
    `phi` are the measured values, `unsmeared_eta` and `unsmeared_phi` are without the angular
    smearing, and `outer_eta` and `outer_phi` are at the exit point. `relative_resolution` is that
    of pT and of the energy.
    """

    particle: Int64[np.ndarray, " tracks"]
    exit: Int64[np.ndarray, " tracks"]
    is_electron: Bool[np.ndarray, " tracks"]
    is_muon: Bool[np.ndarray, " tracks"]
    pt: Float64[np.ndarray, " tracks"]
    relative_resolution: Float64[np.ndarray, " tracks"]
    eta: Float64[np.ndarray, " tracks"]
    phi: Float64[np.ndarray, " tracks"]
    unsmeared_eta: Float64[np.ndarray, " tracks"]
    unsmeared_phi: Float64[np.ndarray, " tracks"]
    outer_eta: Float64[np.ndarray, " tracks"]
    outer_phi: Float64[np.ndarray, " tracks"]

    def __len__(self) -> int:
        return len(self.particle)

    @property
    def is_hadron(self) -> Bool[np.ndarray, " tracks"]:
        """True for tracks that are neither electrons nor muons."""
        return ~self.is_electron & ~self.is_muon

    @functools.cached_property
    def energy(self) -> Float64[np.ndarray, " tracks"]:
        """Measured energy in GeV. It equals the momentum, since tracks are treated as massless."""
        return self.pt * portable.sinh_cosh(self.eta)[1]


def reconstruct(
    produced: particles.Particles, exits: propagation.Exits, *, seed: int, event: int
) -> Tracks:
    """Reconstructs the tracks of an event."""
    stream = portable.Stream(seed=seed, event=event, stage=portable.Stage.TRACKS)
    abs_pdg_id = produced.abs_pdg_id[exits.particle]
    charged = produced.charge[exits.particle] != 0
    is_electron, is_muon = abs_pdg_id == species.ELECTRON, abs_pdg_id == species.MUON
    pt, abs_eta = produced.pt[exits.particle], np.abs(exits.eta)

    found, measured_pt, resolution = [], [], []
    for kind, selected in (
        (HADRON, charged & ~is_electron & ~is_muon),
        (ELECTRON, charged & is_electron),
        (MUON, charged & is_muon),
    ):
        at = np.flatnonzero(selected)
        at = at[stream.uniform(len(at)) <= efficiency(kind, pt[at], abs_eta[at])]
        at = at[abs_eta[at] <= MAX_ABS_ETA]
        relative = pt_resolution(kind, pt[at], abs_eta[at])
        sigma = relative * pt[at]
        found.append(at)
        resolution.append(relative)
        measured_pt.append(portable.log_normal(stream.normal(len(at)), mean=pt[at], sigma=sigma))

    at = np.concatenate(found)
    particle = exits.particle[at]
    eta, phi = produced.take(particle).eta, exits.perigee_phi[at]
    shift_eta, shift_phi = ANGULAR_RESOLUTION * stream.normal(2 * len(at)).reshape(2, -1)
    return Tracks(
        particle=particle,
        exit=at,
        is_electron=is_electron[at],
        is_muon=is_muon[at],
        pt=np.concatenate(measured_pt),
        relative_resolution=np.concatenate(resolution),
        eta=eta + shift_eta,
        phi=phi + shift_phi,
        unsmeared_eta=eta,
        unsmeared_phi=phi,
        outer_eta=exits.eta[at],
        outer_phi=exits.phi[at],
    )


def efficiency(
    kind: TrackKind,
    pt: Float64[np.ndarray, " particles"],
    abs_eta: Float64[np.ndarray, " particles"],
) -> Float64[np.ndarray, " particles"]:
    """Returns the efficiency for a track of true pT (GeV) that leaves the tracker at |eta|."""

    def by_pt(low: float, middle: float, high: float) -> Float64[np.ndarray, " particles"]:
        beyond = high * portable.exp(0.5 - pt * 5e-4) if kind.fades else high
        above_1_gev = np.where(pt > kind.high_pt_gev, beyond, middle)
        return np.where(pt > 1.0, above_1_gev, np.where(pt > MIN_PT_GEV, low, 0.0))

    barrel, endcap = (by_pt(*values) for values in kind.efficiencies)
    return np.where(abs_eta <= 1.5, barrel, np.where(abs_eta <= MAX_ABS_ETA, endcap, 0.0))


def pt_resolution(
    kind: TrackKind,
    pt: Float64[np.ndarray, " particles"],
    abs_eta: Float64[np.ndarray, " particles"],
) -> Float64[np.ndarray, " particles"]:
    """Returns the relative resolution of pT for tracks of true pT (GeV) and exit |eta|."""
    region = (abs_eta > 0.5).astype(np.int64) + (abs_eta > 1.5)
    constant, slope = np.array(kind.resolutions)[region].T
    resolution = np.sqrt(constant * constant + (pt * pt) * (slope * slope))
    measured = (abs_eta <= MAX_ABS_ETA) & (pt > MIN_PT_GEV)
    return np.where(measured, np.minimum(resolution, 1.0), 0.0)
