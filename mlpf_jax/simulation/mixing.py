"""Pile-up: a hard collision and a Poisson number of soft ones in one bunch crossing.

Every collision is drawn with replacement from the truth bank, rotated about the beam by a random
angle, reflected in z at random (the beams are identical) and moved to a random position along the
beam.
"""

import numpy as np
from jaxtyping import Float64

from mlpf_jax.simulation import bank as truth
from mlpf_jax.simulation import particles, portable

MEAN_PILEUP = 200.0
# Source: the vertex distribution of delphes_card_CMS_PhaseII_200PU, PileUpMerger: a Gaussian of
# 53 mm, which Delphes samples as a histogram of 30 cells over +-250 mm, flat inside a cell.
_VERTEX_SIGMA_M, _VERTEX_HALF_RANGE_M, _VERTEX_CELLS = 0.053, 0.25, 30
_POINTS_PER_CELL = 32  # for the midpoint rule


def mix(
    bank: truth.Bank, process: str, *, seed: int, event: int, mean_pileup: float = MEAN_PILEUP
) -> particles.Particles:
    """Returns the particles of one bunch crossing, with the hard collision first.

    Raises:
        ValueError: if the bank lacks the process.
    """
    stream = portable.Stream(seed=seed, event=event, stage=portable.Stage.MIXING)
    num_pileup = stream.poisson(mean_pileup)
    uniform = stream.uniform(5 * (num_pileup + 1)).reshape(5, num_pileup + 1)
    hard = _place(bank.events(process), uniform[:, :1])
    return particles.concatenate(hard, _place(bank.events(truth.PILEUP), uniform[:, 1:]))


def _place(
    events: particles.TruthEvents, uniform: Float64[np.ndarray, "5 collisions"]
) -> particles.Particles:
    """Draws one collision per column of random numbers, and rotates, reflects and moves it."""
    drawn = np.floor(uniform[0] * events.num_events).astype(np.int64)
    first, counts = events.offsets[drawn], events.offsets[drawn + 1] - events.offsets[drawn]
    collision = np.repeat(np.arange(len(counts)), counts)
    rank = np.arange(len(collision)) - np.repeat(np.cumsum(counts) - counts, counts)
    local = events.particles.take(rank + first[collision])
    sine, cosine = portable.sin_cos((uniform[1] * 2.0 - 1.0) * portable.PI)
    sine, cosine = sine[collision], cosine[collision]
    sign = np.where(uniform[2] < 0.5, -1.0, 1.0)[collision]
    return particles.Particles(
        pdg_id=local.pdg_id,
        charge=local.charge,
        px=cosine * local.px - sine * local.py,
        py=sine * local.px + cosine * local.py,
        pz=local.pz * sign,
        energy=local.energy,
        x=cosine * local.x - sine * local.y,
        y=sine * local.x + cosine * local.y,
        z=local.z * sign + vertex_z(uniform[3])[collision],
    )


def vertex_z(uniform: Float64[np.ndarray, " collisions"]) -> Float64[np.ndarray, " collisions"]:
    """Returns the positions of collisions along the beam in mm, for uniform numbers in [0, 1)."""
    cell = np.searchsorted(_VERTEX_CUMULATIVE, uniform, side="right") - 1
    cell = np.clip(cell, 0, _VERTEX_CELLS - 1)
    low, high = _VERTEX_CUMULATIVE[cell], _VERTEX_CUMULATIVE[cell + 1]
    fraction = (uniform - low) / (high - low)
    return 1e3 * (-_VERTEX_HALF_RANGE_M + _VERTEX_CELL_M * (cell + fraction))


def _cumulative_vertex_density() -> Float64[np.ndarray, " edges"]:
    sums, total = [0.0], 0.0
    midpoints = (np.arange(_POINTS_PER_CELL) + 0.5) / _POINTS_PER_CELL
    for cell in range(_VERTEX_CELLS):
        z = -_VERTEX_HALF_RANGE_M + _VERTEX_CELL_M * (cell + midpoints)
        for density in portable.exp(-0.5 * (z / _VERTEX_SIGMA_M) * (z / _VERTEX_SIGMA_M)):
            total += float(density)
        sums.append(total)
    return np.array(sums) / total


_VERTEX_CELL_M = 2.0 * _VERTEX_HALF_RANGE_M / _VERTEX_CELLS
_VERTEX_CUMULATIVE = _cumulative_vertex_density()
