"""Collisions are drawn, turned, reflected and moved, and otherwise left as they were generated."""

import numpy as np
import pytest

from mlpf_jax.simulation import bank as truth
from mlpf_jax.simulation import mixing, particles

PROTON_MASS = 0.93827


@pytest.fixture(scope="module")
def tiny_bank(make_particles):
    """One particle per collision; pile-up collisions differ by their pT of 1 to 10 GeV."""
    pileup = make_particles(2212, np.arange(1.0, 11.0), 0.7, 0.3, x=2.0)
    hard = make_particles(11, 50.0, -1.0, 2.0)
    events = {
        "minbias": particles.TruthEvents(particles=pileup, offsets=np.arange(11)),
        "ttbar": particles.TruthEvents(particles=hard, offsets=np.arange(2)),
    }
    return truth.Bank(sha256="", generator="", provenance={}, truth=events)


@pytest.fixture(scope="module")
def crossings(tiny_bank):
    return [mixing.mix(tiny_bank, "ttbar", seed=4, event=i) for i in range(150)]


def test_the_hard_collision_comes_first_and_once(crossings):
    for crossing in crossings:
        assert crossing.pdg_id[0] == 11
        assert set(crossing.pdg_id[1:].tolist()) == {2212}


def test_the_number_of_pileup_collisions_is_poisson(crossings):
    counts = np.array([len(c) - 1 for c in crossings])
    assert counts.mean() == pytest.approx(200, abs=5 * (200 / len(counts)) ** 0.5)
    assert counts.var() == pytest.approx(200, rel=0.5)


def test_mean_pileup_can_be_chosen(tiny_bank):
    counts = [
        len(mixing.mix(tiny_bank, "ttbar", seed=1, event=i, mean_pileup=2.0)) - 1
        for i in range(500)
    ]
    assert np.mean(counts) == pytest.approx(2.0, abs=5 * (2 / 500) ** 0.5)


def test_all_pileup_collisions_are_drawn_alike(crossings):
    drawn = np.concatenate([np.rint(c.pt[1:]).astype(int) for c in crossings])
    counts = np.bincount(drawn, minlength=11)[1:]
    expected = counts.sum() / 10
    assert ((counts - expected) ** 2 / expected).sum() < 9 + 5 * (2 * 9) ** 0.5


def test_turning_and_reflecting_keep_momenta_and_mass(crossings):
    c = crossings[0]
    np.testing.assert_allclose(c.pt[1:], np.rint(c.pt[1:]), rtol=1e-12)
    np.testing.assert_allclose(np.abs(c.eta[1:]), 0.7, rtol=1e-12)
    mass = np.sqrt(c.energy**2 - c.px**2 - c.py**2 - c.pz**2)[1:]
    np.testing.assert_allclose(mass, PROTON_MASS, rtol=1e-9)


def test_a_collision_is_turned_as_a_whole(crossings):
    c = crossings[0]
    turned_by = np.arctan2(c.y[1:], c.x[1:])  # the vertices lay on the x axis
    difference = (c.phi[1:] - turned_by - 0.3 + np.pi) % (2 * np.pi) - np.pi
    np.testing.assert_allclose(difference, 0, atol=1e-12)


def test_directions_are_isotropic_and_both_sides_alike(crossings):
    phi = np.concatenate([c.phi for c in crossings])
    assert abs(np.exp(1j * phi).mean()) < 5 / len(phi) ** 0.5
    assert np.mean(np.concatenate([c.pz > 0 for c in crossings])) == pytest.approx(0.5, abs=0.02)


def test_vertices_follow_the_truncated_gaussian(crossings):
    z = np.concatenate([c.z for c in crossings])
    assert np.abs(z).max() <= 250
    assert z.mean() == pytest.approx(0, abs=5 * 53 / len(z) ** 0.5)
    # Flat cells of 250 / 15 mm widen the Gaussian: 53**2 + cell**2 / 12, within a percent.
    assert z.std() == pytest.approx((53**2 + (250 / 15) ** 2 / 12) ** 0.5, rel=0.02)


def test_vertex_z_is_the_inverse_of_a_distribution():
    z = mixing.vertex_z(np.linspace(0, 1, 1001, endpoint=False))
    assert z[0] == -250
    assert (np.diff(z) > 0).all()
    np.testing.assert_allclose(z[1:], -z[:0:-1], atol=1e-9)


def test_a_crossing_depends_on_seed_and_event(tiny_bank, crossings):
    def pt(seed, event):
        return mixing.mix(tiny_bank, "ttbar", seed=seed, event=event).pt.tolist()

    assert pt(4, 0) == crossings[0].pt.tolist()
    assert pt(4, 1) != pt(4, 0) != pt(5, 0)


def test_an_unknown_process_is_refused(tiny_bank):
    with pytest.raises(ValueError, match="no process 'higgs'"):
        mixing.mix(tiny_bank, "higgs", seed=0, event=0)


def test_particles_are_concatenated_column_by_column(make_particles):
    both = particles.concatenate(
        make_particles([22, 11], 1.0, 0.0, 0.0), make_particles(13, 2, 0, 0)
    )
    assert both.pdg_id.tolist() == [22, 11, 13]
    assert both.pt.tolist() == pytest.approx([1, 1, 2])
