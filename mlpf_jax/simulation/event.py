"""Simulates one event: the whole chain from the truth bank to the network's arrays."""

import dataclasses

import numpy as np
from jaxtyping import Float32, Float64, Int64

from mlpf_jax.simulation import bank as truth
from mlpf_jax.simulation import (
    calorimeter,
    candidates,
    mixing,
    particles,
    portable,
    propagation,
    targets,
    tracks,
)

TOWER_TYPE, TRACK_TYPE = 1.0, 2.0


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class SimulatedEvent:
    """One event in the columns of the public data set: all tracks, then all towers.

    elements, track: 2, pT, eta, sin phi, cos phi, energy, eta, sin phi and cos phi at the
        calorimeter, charge, is muon, is electron. elements, tower: 1, ET, eta, sin phi, cos phi,
        energy, its ECAL part, its HCAL part, 0, 0, 0, 0. targets and candidates: class, charge, pT,
        eta, sin phi, cos phi, energy; 0 if there is none. Candidates of tracks have no energy,
        candidates of towers have no pT.

    Energies and momenta are in GeV.
    """

    elements: Float32[np.ndarray, "elements 12"]
    targets: Float32[np.ndarray, "elements 7"]
    candidates: Float32[np.ndarray, "elements 7"]


def simulate(bank: truth.Bank, process: str, seed: int, index: int) -> SimulatedEvent:
    """Simulates an event of a hard process ("ttbar" or "qcd") at 200 pile-up.

    The event depends only on the arguments: it has the same bytes on every machine.

    Raises:
        ValueError: if the bank lacks the process, or seed or index is negative.
    """
    if seed < 0 or index < 0:
        raise ValueError(f"seed and index of an event must not be negative, not {seed}, {index}")
    return detect(mixing.mix(bank, process, seed=seed, event=index), seed=seed, event=index)


def detect(produced: particles.Particles, *, seed: int, event: int) -> SimulatedEvent:
    """Simulates the detector's response to an event's particles."""
    exits = propagation.propagate(produced)
    found = tracks.reconstruct(produced, exits, seed=seed, event=event)
    ecal, hcal = calorimeter.measure_both(produced, exits, found, seed=seed, event=event)
    hits = targets.untracked_hits(produced, exits, found, ecal, hcal)
    order = _random_order(len(found), hits.num_towers, seed=seed, event=event)

    def ordered(
        of_tracks: Float64[np.ndarray, "tracks columns"],
        of_towers: Float64[np.ndarray, "towers columns"],
    ) -> Float32[np.ndarray, "elements columns"]:
        return np.concatenate([of_tracks, of_towers])[order].astype(np.float32)

    return SimulatedEvent(
        elements=ordered(_track_elements(produced, found), _tower_elements(ecal, hcal)),
        targets=ordered(
            targets.track_targets(produced, found), targets.tower_targets(produced, hits)
        ),
        candidates=ordered(
            candidates.track_candidates(produced, found, scale=ecal.track_scale * hcal.track_scale),
            candidates.tower_candidates(ecal, hcal, hits, seed=seed, event=event),
        ),
    )


def _track_elements(
    produced: particles.Particles, found: tracks.Tracks
) -> Float64[np.ndarray, "tracks 12"]:
    columns = [
        np.full(len(found), TRACK_TYPE),
        found.pt,
        found.eta,
        *portable.sin_cos(found.phi),
        found.energy,
        found.outer_eta,
        *portable.sin_cos(found.outer_phi),
        produced.charge[found.particle],
        found.is_muon,
        found.is_electron,
    ]
    return np.stack(columns, axis=1)


def _tower_elements(
    ecal: calorimeter.Towers, hcal: calorimeter.Towers
) -> Float64[np.ndarray, "towers 12"]:
    energy, eta = np.concatenate([ecal.energy, hcal.energy]), np.concatenate([ecal.eta, hcal.eta])
    transverse = energy / portable.sinh_cosh(eta)[1]
    sin_phi, cos_phi = portable.sin_cos(np.concatenate([ecal.phi, hcal.phi]))
    rows = np.zeros((len(energy), 12))
    tower_type = np.full_like(energy, TOWER_TYPE)
    rows[:, :6] = np.stack([tower_type, transverse, eta, sin_phi, cos_phi, energy], axis=1)
    rows[: len(ecal), 6], rows[len(ecal) :, 7] = ecal.energy, hcal.energy
    return rows


def _random_order(
    num_tracks: int, num_towers: int, *, seed: int, event: int
) -> Int64[np.ndarray, " elements"]:
    """Returns the order of an event's rows: tracks, then towers, each in random order.

    The public arrays are in the order of a hash table, which is effectively random.
    """
    stream = portable.Stream(seed=seed, event=event, stage=portable.Stage.ORDER)
    tracks_first = stream.permutation(num_tracks)
    return np.concatenate([tracks_first, num_tracks + stream.permutation(num_towers)])
