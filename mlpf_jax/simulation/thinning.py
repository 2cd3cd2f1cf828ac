"""Chooses a representative subset of collisions.

Pile-up is drawn repeatedly from the bank, so a statistical fluctuation of a small bank would affect
every event. More collisions are therefore generated than kept, and the kept ones have the same mean
activity as all.
"""

import numpy as np
from jaxtyping import Float64, Int64

from mlpf_jax.simulation import particles, species

_NUM_OFFSETS = 256  # number of systematic samples to compare
# Longitudinal over transverse momentum at the end of the tracker (eta = 2.5), and where the forward
# calorimeters begin (3) and end (5).
_TRACKER, _FORWARD_FROM, _FORWARD_TO = 6.05, 10.0, 74.0
_LONG_LIVED = (species.K_LONG, 2112, species.K_SHORT, species.LAMBDA)


def activity(events: particles.TruthEvents) -> Float64[np.ndarray, "events 11"]:
    """Returns, per collision, the sums whose means a small bank should preserve; pT in GeV.

    In the tracker's range: charged particles above 0.3, 1, 2 and 4 GeV, photons above 0.5 and 2,
    electrons above 0.3, muons above 0.6; the energy in the forward calorimeters; long-lived
    neutrals above 1 GeV in the tracker's range; the sum of all pT.
    """
    p = events.particles
    pt, code, is_charged = np.hypot(p.px, p.py), p.abs_pdg_id, p.charge != 0
    abs_pz = np.abs(p.pz)
    central = abs_pz < _TRACKER * pt
    forward = (abs_pz > _FORWARD_FROM * pt) & (abs_pz < _FORWARD_TO * pt)
    is_photon = code == species.PHOTON
    weights = [is_charged & central & (pt > threshold) for threshold in (0.3, 1.0, 2.0, 4.0)]
    weights += [is_photon & central & (pt > threshold) for threshold in (0.5, 2.0)]
    weights += [
        (code == species.ELECTRON) & central & (pt > 0.3),
        (code == species.MUON) & central & (pt > 0.6),
        forward * p.energy,
        np.isin(code, _LONG_LIVED) & central & (pt > 1.0),
        pt,
    ]
    event = np.repeat(np.arange(events.num_events), np.diff(events.offsets))
    sums = [np.bincount(event, weights=w, minlength=events.num_events) for w in weights]
    return np.stack(sums, axis=1).astype(np.float64)


def choose(
    activities: Float64[np.ndarray, "events sums"], num_kept: int
) -> Int64[np.ndarray, " {num_kept}"]:
    """Returns the ascending indices of the kept collisions.

    They are a systematic sample in order of central multiplicity. Of many such samples, it is the
    one whose means are closest to those of all collisions, in units of their statistical errors.
    """
    num_events = len(activities)
    if num_kept == num_events:
        return np.arange(num_events)
    order = np.lexsort((activities[:, -1], activities[:, 0]))
    mean, error = activities.mean(axis=0), activities.std(axis=0) / num_kept**0.5
    error = np.where(error > 0, error, 1.0)
    best, least = np.zeros(0, np.int64), np.inf
    for offset in range(_NUM_OFFSETS):
        ranks = (np.arange(num_kept) + (offset + 0.5) / _NUM_OFFSETS) * num_events / num_kept
        kept = np.sort(order[ranks.astype(np.int64)])
        distance = np.square((activities[kept].mean(axis=0) - mean) / error).sum()
        if distance < least:
            best, least = kept, distance
    return best
