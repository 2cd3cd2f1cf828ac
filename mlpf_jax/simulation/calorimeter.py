"""Calorimeter towers and energy flow: measured cell energies and their neutral part.

Source: modules/SimpleCalorimeter.cc of Delphes 3.4.3pre07, run twice as in
delphes_card_CMS_PhaseII_200PU: first as ECAL, then as HCAL with the tracks as corrected by ECAL.
"""

import dataclasses
from collections.abc import Callable

import numpy as np
from jaxtyping import Bool, Float64, Int32, Int64

from mlpf_jax.simulation import grid, particles, portable, propagation, species
from mlpf_jax.simulation import tracks as tracking

_NO_CELL = -1
_MIN_SIGNIFICANCE = 2.0  # minimum for a tower's energy, and for its neutral part
_ECAL_FRACTION_OF_LONG_LIVED = 0.3  # K0S and Lambda decay in flight, or shower in HCAL
_HCAL_FRACTION_OF_LONG_LIVED = 0.7

Resolution = Callable[
    [Float64[np.ndarray, " towers"], Float64[np.ndarray, " towers"]],
    Float64[np.ndarray, " towers"],
]


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Calorimeter:
    """One calorimeter: its cells, its random stream and its resolution.

    `resolution` maps (eta of the cell's centre, energy) to the standard deviation of the energy,
    all energies in GeV. Towers below `min_energy_gev` are noise.
    """

    cells: grid.Grid
    stage: portable.Stage
    resolution: Resolution
    min_energy_gev: float


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Towers:
    """The towers of one calorimeter: measured energies in GeV at a random place in their cells.

    `neutral_energy` is the energy of a tower that its tracks do not explain, if that is
    significant, else 0. It is the energy of a neutral candidate. `hit_exit` and `hit_tower` list
    the pairs of exits and towers with energy deposits. `track_scale` is the factor by which energy
    flow corrects the momentum of each track.
    """

    energy: Float64[np.ndarray, " towers"]
    eta: Float64[np.ndarray, " towers"]
    phi: Float64[np.ndarray, " towers"]
    neutral_energy: Float64[np.ndarray, " towers"]
    hit_exit: Int64[np.ndarray, " hits"]
    hit_tower: Int64[np.ndarray, " hits"]
    track_scale: Float64[np.ndarray, " tracks"]

    def __len__(self) -> int:
        return len(self.energy)


def ecal_resolution(
    eta: Float64[np.ndarray, " towers"], energy: Float64[np.ndarray, " towers"]
) -> Float64[np.ndarray, " towers"]:
    """Returns the standard deviation of ECAL energies in GeV; 0 beyond |eta| of 5."""
    abs_eta = np.abs(eta)
    core = np.sqrt((0.008 * 0.008) * (energy * energy) + energy * (0.11 * 0.11) + 0.40 * 0.40)
    barrel = (1 + 0.64 * (eta * eta)) * core
    endcap = (2.16 + 5.6 * ((abs_eta - 2) * (abs_eta - 2))) * core
    forward = np.sqrt((energy * energy) * (0.107 * 0.107) + energy * (2.08 * 2.08))
    outside = np.where(abs_eta <= 5.0, forward, 0.0)
    return np.where(abs_eta <= 1.5, barrel, np.where(abs_eta <= 2.5, endcap, outside))


def hcal_resolution(
    eta: Float64[np.ndarray, " towers"], energy: Float64[np.ndarray, " towers"]
) -> Float64[np.ndarray, " towers"]:
    """Returns the standard deviation of HCAL energies in GeV; 0 beyond |eta| of 5."""
    abs_eta = np.abs(eta)
    central = np.sqrt((energy * energy) * (0.05 * 0.05) + energy * (1.5 * 1.5))
    forward = np.sqrt((energy * energy) * (0.13 * 0.13) + energy * (2.7 * 2.7))
    return np.where(abs_eta <= 3.0, central, np.where(abs_eta <= 5.0, forward, 0.0))


ECAL = Calorimeter(
    cells=grid.ECAL, stage=portable.Stage.ECAL, resolution=ecal_resolution, min_energy_gev=0.5
)
HCAL = Calorimeter(
    cells=grid.HCAL, stage=portable.Stage.HCAL, resolution=hcal_resolution, min_energy_gev=1.0
)


def ecal_fractions(
    abs_pdg_id: Int32[np.ndarray, " particles"],
) -> Float64[np.ndarray, " particles"]:
    """Returns the share of each particle's energy that it deposits in ECAL."""
    long_lived = np.where(_is_long_lived(abs_pdg_id), _ECAL_FRACTION_OF_LONG_LIVED, 0.0)
    return np.where(_is_electromagnetic(abs_pdg_id), 1.0, long_lived)


def hcal_fractions(
    abs_pdg_id: Int32[np.ndarray, " particles"],
) -> Float64[np.ndarray, " particles"]:
    """Returns the share of each particle's energy that it deposits in HCAL."""
    passes = _is_electromagnetic(abs_pdg_id) | (abs_pdg_id == species.MUON)
    hadron = np.where(_is_long_lived(abs_pdg_id), _HCAL_FRACTION_OF_LONG_LIVED, 1.0)
    return np.where(passes, 0.0, hadron)


def _is_long_lived(abs_pdg_id: np.ndarray) -> np.ndarray:
    return (abs_pdg_id == species.K_SHORT) | (abs_pdg_id == species.LAMBDA)


def _is_electromagnetic(abs_pdg_id: np.ndarray) -> np.ndarray:
    return (abs_pdg_id == species.ELECTRON) | (abs_pdg_id == species.PHOTON)


def measure_both(
    produced: particles.Particles,
    exits: propagation.Exits,
    tracks: tracking.Tracks,
    *,
    seed: int,
    event: int,
) -> tuple[Towers, Towers]:
    """Measures an event in ECAL and then in HCAL; electrons deposit in ECAL, hadrons in HCAL."""
    energy, abs_pdg_id = produced.energy[exits.particle], produced.abs_pdg_id[exits.particle]
    ecal = measure(
        ECAL,
        deposits=energy * ecal_fractions(abs_pdg_id),
        exits=exits,
        tracks=tracks,
        track_energy=tracks.energy,
        leaves_energy=tracks.is_electron,
        seed=seed,
        event=event,
    )
    hcal = measure(
        HCAL,
        deposits=energy * hcal_fractions(abs_pdg_id),
        exits=exits,
        tracks=tracks,
        track_energy=tracks.energy * ecal.track_scale,
        leaves_energy=tracks.is_hadron,
        seed=seed,
        event=event,
    )
    return ecal, hcal


def measure(
    calorimeter: Calorimeter,
    *,
    deposits: Float64[np.ndarray, " exits"],
    exits: propagation.Exits,
    tracks: tracking.Tracks,
    track_energy: Float64[np.ndarray, " tracks"],
    leaves_energy: Bool[np.ndarray, " tracks"],
    seed: int,
    event: int,
) -> Towers:
    """Measures the energy of every cell that a particle or a track enters.

    `deposits` is the energy in GeV that the particle at each exit deposits here. `track_energy`
    contains the current energies of the tracks. `leaves_energy` marks the tracks of particles that
    deposit energy in this calorimeter.
    """
    exit_cell = _cells_entered(calorimeter, deposits, exits)
    hit_exit = np.flatnonzero(exit_cell != _NO_CELL)
    entering = np.flatnonzero(leaves_energy & (exit_cell[tracks.exit] != _NO_CELL))
    entered_cells = np.concatenate([exit_cell[hit_exit], exit_cell[tracks.exit[entering]]])
    cells, cell_index = np.unique(entered_cells, return_inverse=True)
    hit_cell, entered_cell = cell_index[: len(hit_exit)], cell_index[len(hit_exit) :]

    stream = portable.Stream(seed=seed, event=event, stage=calorimeter.stage)
    eta_from, eta_to, phi_from, phi_to = calorimeter.cells.bounds(cells)
    deposited = portable.sum_at(hit_cell, deposits[hit_exit], size=len(cells))
    middle = 0.5 * (eta_from + eta_to)
    energy, sigma = _measured_energy(calorimeter, middle, deposited, stream.normal(len(cells)))
    place_eta, place_phi = stream.uniform(2 * len(cells)).reshape(2, -1)
    neutral_energy, scale = _energy_flow(
        calorimeter,
        energy=energy,
        sigma=sigma,
        entered_cell=entered_cell,
        track_energy=track_energy[entering],
        track_sigma=tracks.relative_resolution[entering] * track_energy[entering],
    )
    track_scale = np.ones(len(tracks))
    track_scale[entering] = scale[entered_cell]

    kept = energy > 0
    tower_of_cell = np.cumsum(kept) - 1
    hits = kept[hit_cell]
    return Towers(
        energy=energy[kept],
        eta=(eta_from + (eta_to - eta_from) * place_eta)[kept],
        phi=(phi_from + (phi_to - phi_from) * place_phi)[kept],
        neutral_energy=neutral_energy[kept],
        hit_exit=hit_exit[hits],
        hit_tower=tower_of_cell[hit_cell[hits]],
        track_scale=track_scale,
    )


def _cells_entered(
    calorimeter: Calorimeter, deposits: Float64[np.ndarray, " exits"], exits: propagation.Exits
) -> Int64[np.ndarray, " exits"]:
    """Returns the cell that each exit leads to, or -1 if no energy is deposited in a cell."""
    leaves_energy = np.flatnonzero(deposits > 0)
    covered, cell = calorimeter.cells.locate(exits.eta[leaves_energy], exits.phi[leaves_energy])
    entered = np.full(len(exits), _NO_CELL)
    entered[leaves_energy[covered]] = cell[covered]
    return entered


def _measured_energy(
    calorimeter: Calorimeter,
    eta: Float64[np.ndarray, " cells"],
    deposited: Float64[np.ndarray, " cells"],
    normal: Float64[np.ndarray, " cells"],
) -> tuple[Float64[np.ndarray, " cells"], Float64[np.ndarray, " cells"]]:
    """Returns the measured energies, with 0 for noise, and their standard deviations.

    The standard deviation is that of the measured energy, even if the energy is then set to 0.
    """
    spread = calorimeter.resolution(eta, deposited)
    energy = portable.log_normal(normal, mean=deposited, sigma=spread)
    sigma = calorimeter.resolution(eta, energy)
    is_noise = (energy < calorimeter.min_energy_gev) | (energy < _MIN_SIGNIFICANCE * sigma)
    return np.where(is_noise, 0.0, energy), sigma


def _energy_flow(
    calorimeter: Calorimeter,
    *,
    energy: Float64[np.ndarray, " cells"],
    sigma: Float64[np.ndarray, " cells"],
    entered_cell: Int64[np.ndarray, " entering"],
    track_energy: Float64[np.ndarray, " entering"],
    track_sigma: Float64[np.ndarray, " entering"],
) -> tuple[Float64[np.ndarray, " cells"], Float64[np.ndarray, " cells"]]:
    """Returns each cell's neutral energy and the factor for the tracks that enter it.

    If the cell has significantly more energy than its tracks, the excess is neutral and the tracks
    are unchanged. Otherwise all energy belongs to the tracks, which are scaled to the mean of both
    measurements, weighted by their inverse variances.
    """
    num_cells = len(energy)
    charged = portable.sum_at(entered_cell, track_energy, size=num_cells)
    variance = portable.sum_at(entered_cell, track_sigma * track_sigma, size=num_cells)
    excess = np.maximum(energy - charged, 0.0)
    noise_squared = (_MIN_SIGNIFICANCE * _MIN_SIGNIFICANCE) * (variance + sigma * sigma)
    is_neutral = (excess > calorimeter.min_energy_gev) & (excess * excess > noise_squared)
    track_weight, cell_weight = _inverse(variance), _inverse(sigma * sigma)
    weight = track_weight + cell_weight
    mean = (track_weight * charged + cell_weight * energy) / np.where(weight > 0, weight, 1.0)
    scale = mean / np.where(charged > 0, charged, 1.0)
    scale = np.where(is_neutral | (charged <= 0), 1.0, scale)
    return np.where(is_neutral, excess, 0.0), scale


def _inverse(values: Float64[np.ndarray, " cells"]) -> Float64[np.ndarray, " cells"]:
    """Returns 1 / value, and 0 for 0."""
    return np.where(values > 0, 1.0 / np.where(values > 0, values, 1.0), 0.0)
