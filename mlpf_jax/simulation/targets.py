"""The targets: for each element, the generated particle that a perfect reconstruction returns.

Source: the last ntuplizer.py of github.com/jpata/particleflow before the data set's publication
(February 2021).
"""

import dataclasses
import enum

import numpy as np
from jaxtyping import Bool, Float64, Int64

from mlpf_jax.simulation import calorimeter, particles, portable, propagation, species
from mlpf_jax.simulation import tracks as tracking

MAX_TRACKER_ABS_ETA = 2.5
MIN_NEUTRAL_HADRON_GEV = 9.0  # below this energy, neutral hadrons are not targets


class ParticleClass(enum.IntEnum):
    """The class in the first column of targets and candidates."""

    NONE = 0
    CHARGED_HADRON = 1
    NEUTRAL_HADRON = 2
    PHOTON = 3
    ELECTRON = 4
    MUON = 5


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class TowerHits:
    """The particles without a track that deposit energy in towers, one pair per row.

    `particle` is an index among the event's particles; `tower` counts ECAL's towers first, then
    HCAL's. `num_towers` is the number of both.
    """

    particle: Int64[np.ndarray, " hits"]
    tower: Int64[np.ndarray, " hits"]
    num_towers: int

    @property
    def has_hit(self) -> Bool[np.ndarray, " towers"]:
        """Which towers contain a particle without a track."""
        return np.bincount(self.tower, minlength=self.num_towers) > 0


def untracked_hits(
    produced: particles.Particles,
    exits: propagation.Exits,
    tracks: tracking.Tracks,
    ecal: calorimeter.Towers,
    hcal: calorimeter.Towers,
) -> TowerHits:
    """Collects the particles without a track that reached the towers of both calorimeters."""
    particle = np.concatenate([exits.particle[ecal.hit_exit], exits.particle[hcal.hit_exit]])
    tower = np.concatenate([ecal.hit_tower, len(ecal) + hcal.hit_tower])
    has_track = np.zeros(len(produced), bool)
    has_track[tracks.particle] = True
    is_free = ~has_track[particle]
    return TowerHits(
        particle=particle[is_free], tower=tower[is_free], num_towers=len(ecal) + len(hcal)
    )


def track_targets(
    produced: particles.Particles, tracks: tracking.Tracks
) -> Float64[np.ndarray, "tracks 7"]:
    """Returns the particle of each track at production.

    The charge column is the sign of the PDG code, as in the public data: electrons have +1.
    """
    tracked = produced.take(tracks.particle)
    sin_phi, cos_phi = portable.sin_cos(tracked.phi)
    columns = [tracked.pt, tracked.eta, sin_phi, cos_phi, tracked.energy]
    return np.stack([track_classes(tracks), np.sign(tracked.pdg_id), *columns], axis=1)


def track_classes(tracks: tracking.Tracks) -> Int64[np.ndarray, " tracks"]:
    """Returns the class of each track, from the particle that made it."""
    lepton = np.where(tracks.is_electron, ParticleClass.ELECTRON, ParticleClass.CHARGED_HADRON)
    return np.where(tracks.is_muon, ParticleClass.MUON, lepton)


def tower_targets(
    produced: particles.Particles, hits: TowerHits
) -> Float64[np.ndarray, "towers 7"]:
    """Returns the sum of the untracked particles of each tower, as one particle.

    The class is that of the most energetic kind. Charged hadrons beyond the tracker count as
    neutral. Neutral hadrons below 9 GeV count as no particle, with a row of 0.
    """
    sums = {
        name: portable.sum_at(
            hits.tower, getattr(produced, name)[hits.particle], size=hits.num_towers
        )
        for name in ("px", "py", "pz", "energy")
    }
    pt = portable.hypot(sums["px"], sums["py"])
    eta = portable.pseudorapidity(sums["px"], sums["py"], sums["pz"])
    class_id = _dominant_class(produced, hits)
    is_untrackable = (class_id == ParticleClass.CHARGED_HADRON) & (
        np.abs(eta) > MAX_TRACKER_ABS_ETA
    )
    class_id = np.where(is_untrackable, ParticleClass.NEUTRAL_HADRON, class_id)
    is_soft = (class_id == ParticleClass.NEUTRAL_HADRON) & (sums["energy"] < MIN_NEUTRAL_HADRON_GEV)
    charge = (class_id == ParticleClass.CHARGED_HADRON) | (class_id == ParticleClass.ELECTRON)
    length = np.where(pt > 0, pt, 1.0)
    direction = [eta, sums["py"] / length, sums["px"] / length]
    rows = np.stack([class_id, charge, pt, *direction, sums["energy"]], axis=1)
    return np.where((hits.has_hit & ~is_soft)[:, None], rows, 0.0)


# In order of priority for ties.
_CLASS_OF_KIND = np.array(
    [
        ParticleClass.NEUTRAL_HADRON,
        ParticleClass.CHARGED_HADRON,
        ParticleClass.PHOTON,
        ParticleClass.ELECTRON,
    ]
)


def _dominant_class(produced: particles.Particles, hits: TowerHits) -> Int64[np.ndarray, " towers"]:
    """Returns the class of the kind of particle with the most energy in each tower.

    The sum uses the full energy of particles: K0S and Lambda, which deposit energy in an ECAL and
    an HCAL tower, count fully in both.
    """
    abs_pdg_id = produced.abs_pdg_id[hits.particle]
    kind = np.where(produced.charge[hits.particle] != 0, 1, 0)
    kind = np.where(abs_pdg_id == species.PHOTON, 2, kind)
    kind = np.where(abs_pdg_id == species.ELECTRON, 3, kind)
    num_kinds = len(_CLASS_OF_KIND)
    energy = portable.sum_at(
        hits.tower * num_kinds + kind,
        produced.energy[hits.particle],
        size=num_kinds * hits.num_towers,
    )
    return _CLASS_OF_KIND[np.argmax(energy.reshape(-1, num_kinds), axis=1)]
