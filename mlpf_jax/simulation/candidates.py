"""The candidates that the rule-based particle flow of Delphes reconstructs from each element.

The public data do not always assign a tower its own candidate: they find a candidate through shared
particles, in the order of a hash table. This only matters where K0S and Lambda link an ECAL tower
with an HCAL tower; here the order is random.

Source: ntuplizer.py of github.com/jpata/particleflow, 22 and 23 February 2021.
"""

import collections
from collections.abc import Iterator

import numpy as np
from jaxtyping import Bool, Float64, Int64

from mlpf_jax.simulation import calorimeter, particles, portable, targets
from mlpf_jax.simulation import tracks as tracking

_NOTHING = -1


def track_candidates(
    produced: particles.Particles,
    tracks: tracking.Tracks,
    *,
    scale: Float64[np.ndarray, " tracks"],
) -> Float64[np.ndarray, "tracks 7"]:
    """Returns the candidates of the tracks, with energy columns of 0 as in the public data.

    `scale` is the energy-flow factor for the momentum. It does not apply to muons, which are also
    used without the angular smearing.
    """
    eta = np.where(tracks.is_muon, tracks.unsmeared_eta, tracks.eta)
    phi = np.where(tracks.is_muon, tracks.unsmeared_phi, tracks.phi)
    sin_phi, cos_phi = portable.sin_cos(phi)
    pt = np.where(tracks.is_muon, tracks.pt, tracks.pt * scale)
    class_id, charge = targets.track_classes(tracks), produced.charge[tracks.particle]
    return np.stack([class_id, charge, pt, eta, sin_phi, cos_phi, np.zeros_like(pt)], axis=1)


def tower_candidates(
    ecal: calorimeter.Towers,
    hcal: calorimeter.Towers,
    hits: targets.TowerHits,
    *,
    seed: int,
    event: int,
) -> Float64[np.ndarray, "towers 7"]:
    """Returns the neutral candidate assigned to each tower, or a row of 0.

    Photons come from ECAL, neutral hadrons from HCAL; their pT column is 0, as in the public data.
    """
    energy = np.concatenate([ecal.neutral_energy, hcal.neutral_energy])
    stream = portable.Stream(seed=seed, event=event, stage=portable.Stage.MATCHING)
    given = _match(stream, hits, energy > 0)
    tower = np.flatnonzero(given != _NOTHING)
    giver = given[tower]
    eta = np.concatenate([ecal.eta, hcal.eta])[giver]
    sin_phi, cos_phi = portable.sin_cos(np.concatenate([ecal.phi, hcal.phi])[giver])
    is_ecal, nothing = giver < len(ecal), np.zeros(len(giver))
    class_id = np.where(is_ecal, targets.ParticleClass.PHOTON, targets.ParticleClass.NEUTRAL_HADRON)
    rows = np.zeros((hits.num_towers, 7))
    rows[tower] = np.stack(
        [class_id, nothing, nothing, eta, sin_phi, cos_phi, energy[giver]], axis=1
    )
    return rows


def _match(
    stream: portable.Stream, hits: targets.TowerHits, is_neutral: Bool[np.ndarray, " towers"]
) -> Int64[np.ndarray, " towers"]:
    """Returns the index of the tower whose candidate each tower gets, or -1 for none.

    A tower without shared particles gets its own candidate. Linked towers, in random order, each
    take the free candidate that the last of their particles finds.
    """
    given = np.where(is_neutral & hits.has_hit, np.arange(hits.num_towers), _NOTHING)
    partners = _partners(hits)
    if not partners:
        return given
    free = set(np.flatnonzero(is_neutral).tolist())
    num_hits = np.bincount(hits.tower, minlength=hits.num_towers)
    linked = np.array(sorted(partners))
    num_links = sum(len(others) for others in partners.values())
    uniform = iter(stream.uniform(len(linked) + 3 * num_links + 16).tolist())
    for tower in linked[stream.permutation(len(linked))].tolist():
        num_alone = int(num_hits[tower]) - len(partners[tower])
        choices = _choices(uniform, tower, partners[tower], num_alone)
        given[tower] = next((c for c in choices if c in free), _NOTHING)
        free.discard(int(given[tower]))
    return given


def _partners(hits: targets.TowerHits) -> dict[int, list[int]]:
    """Returns the towers of the other calorimeter that share a particle with each tower."""
    order = np.argsort(hits.particle, kind="stable")
    particle, tower = hits.particle[order], hits.tower[order]
    shared = np.flatnonzero(particle[1:] == particle[:-1])
    partners = collections.defaultdict(list)
    for ecal, hcal in zip(tower[shared].tolist(), tower[shared + 1].tolist(), strict=True):
        partners[ecal].append(hcal)
        partners[hcal].append(ecal)
    return dict(partners)


def _choices(
    uniform: Iterator[float], tower: int, partners: list[int], num_alone: int
) -> list[int]:
    """Returns the towers whose candidates a tower would take, best choice first.

    The particles of the tower are in random order. A particle in this tower only leads to the
    tower's own candidate; a shared particle leads to both towers' candidates in random order.
    `num_alone` particles are unshared, and only the first of them matters.
    """
    pairs = [(tower, p) if next(uniform) < 0.5 else (p, tower) for p in partners]
    alone_first = next(uniform) * (num_alone + len(pairs)) < num_alone
    pairs.sort(key=lambda _: next(uniform))
    own = [tower] if num_alone else []
    shared = [choice for pair in pairs for choice in pair]
    return own + shared if alone_first else shared + own
