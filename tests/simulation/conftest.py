"""One real crossing and its stages, and particles made to measure."""

import types

import numpy as np
import pytest

from mlpf_jax.simulation import (
    bank,
    calorimeter,
    mixing,
    particles,
    propagation,
    species,
    targets,
    tracks,
)

SEED, EVENT = 1, 0


@pytest.fixture(scope="session")
def shipped_bank():
    return bank.load_bank()


@pytest.fixture(scope="session")
def crossing(shipped_bank):
    """All stages of one ttbar event."""
    produced = mixing.mix(shipped_bank, "ttbar", seed=SEED, event=EVENT)
    exits = propagation.propagate(produced)
    found = tracks.reconstruct(produced, exits, seed=SEED, event=EVENT)
    ecal, hcal = calorimeter.measure_both(produced, exits, found, seed=SEED, event=EVENT)
    return types.SimpleNamespace(
        produced=produced,
        exits=exits,
        tracks=found,
        ecal=ecal,
        hcal=hcal,
        hits=targets.untracked_hits(produced, exits, found, ecal, hcal),
    )


@pytest.fixture(scope="session")
def make_particles():
    """Returns a function that makes particles from codes, pT, eta, phi and vertices in mm."""

    def make(pdg_id, pt, eta, phi, x=0.0, y=0.0, z=0.0):
        columns = np.broadcast_arrays(*map(np.atleast_1d, (pdg_id, pt, eta, phi, x, y, z)))
        pdg_id = columns[0].astype(np.int32)
        pt, eta, phi, x, y, z = (c.astype(np.float64) for c in columns[1:])
        number = np.array([species.PDG_ID.tolist().index(code) for code in pdg_id.tolist()])
        mass = species.MASS_GEV[number]
        return particles.Particles(
            pdg_id=pdg_id,
            charge=species.CHARGE[number],
            px=pt * np.cos(phi),
            py=pt * np.sin(phi),
            pz=pt * np.sinh(eta),
            energy=np.sqrt((pt * np.cosh(eta)) ** 2 + mass**2),
            x=x,
            y=y,
            z=z,
        )

    return make


@pytest.fixture(scope="session")
def truth(make_particles):
    """Three collisions of 4, 5 and 1 particles, the seventh displaced."""
    codes = [211, -211, 22, 130, 310, -3122, 11, -13, 2112, 3334]
    x = np.zeros(10)
    x[6] = 1.25
    rng = np.random.default_rng(0)
    pt, eta, phi = rng.uniform(0.1, 90, 10), rng.uniform(-5, 5, 10), rng.uniform(-3.1, 3.1, 10)
    return particles.TruthEvents(
        particles=make_particles(codes, pt, eta, phi, x=x, z=7.5), offsets=np.array([0, 4, 9, 10])
    )
