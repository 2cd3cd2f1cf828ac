"""What the rule-based particle flow of Delphes reconstructs from each element.

The public data give a tower not always the candidate made from it: they look for one through the
particles that both share, in the order of a hash table. That only matters where K0S and Lambda link
an ECAL to an HCAL tower; there the order is random here.

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
    """Returns the candidate of each track; its energy column is 0, as in the public data.

    `scale` is energy flow's factor for the momentum. Muons keep theirs, and are taken from before
    the angular smearing.
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
    """Returns the neutral candidate given to each tower, or a row of 0.

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
    """Returns the tower whose candidate each tower is given, -1 for none.

    A tower with no shared particle gets its own. Of the linked ones, in random order, each takes
    the candidate that the last of its particles to find a free one finds.
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
    """Returns, for towers that share a particle with one of the other calorimeter, those."""
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
    """Returns whose candidate a tower would take, the best choice first.

    Its particles stand in random order. One that is in this tower alone leads to the tower's own
    candidate, a shared one to both towers' in random order. `num_alone` particles are alone, and
    all but the first of those in the order change nothing.
    """
    pairs = [(tower, p) if next(uniform) < 0.5 else (p, tower) for p in partners]
    alone_first = next(uniform) * (num_alone + len(pairs)) < num_alone
    # Too few numbers are drawn for all sort keys; beyond, the order is left as it is.
    pairs.sort(key=lambda _: next(uniform, 0.5))
    own = [tower] if num_alone else []
    shared = [choice for pair in pairs for choice in pair]
    return own + shared if alone_first else shared + own
