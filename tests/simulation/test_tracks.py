"""Tracks have the efficiency and resolution of the detector's card."""

import math

import numpy as np
import pytest

from mlpf_jax.simulation import propagation, tracks

NUM_PARTICLES = 20_000


def array(*values):
    return np.array(values, np.float64)


def reconstruct(produced, event=0):
    return tracks.reconstruct(produced, propagation.propagate(produced), seed=1, event=event)


@pytest.mark.parametrize(
    ("kind", "pt", "abs_eta", "expected"),
    [
        (tracks.HADRON, 0.1, 0.0, 0.0),
        (tracks.HADRON, 0.5, 1.5, 0.70),
        (tracks.HADRON, 1.0, 0.0, 0.70),
        (tracks.HADRON, 1.1, 0.0, 0.95),
        (tracks.HADRON, 0.5, 1.6, 0.60),
        (tracks.HADRON, 900.0, 2.5, 0.85),
        (tracks.HADRON, 5.0, 2.51, 0.0),
        (tracks.ELECTRON, 0.5, 0.2, 0.73),
        (tracks.ELECTRON, 50.0, 0.2, 0.95),
        (tracks.ELECTRON, 150.0, 0.2, 0.99),
        (tracks.ELECTRON, 0.5, 2.0, 0.50),
        (tracks.ELECTRON, 50.0, 2.0, 0.83),
        (tracks.ELECTRON, 150.0, 2.0, 0.90),
        (tracks.MUON, 0.5, 0.2, 0.75),
        (tracks.MUON, 50.0, 0.2, 0.99),
        (tracks.MUON, 2000.0, 0.2, 0.99 * math.exp(-0.5)),
        (tracks.MUON, 0.5, 2.0, 0.70),
        (tracks.MUON, 50.0, 2.0, 0.98),
        (tracks.MUON, 2000.0, 2.0, 0.98 * math.exp(-0.5)),
    ],
)
def test_efficiency_is_that_of_the_card(kind, pt, abs_eta, expected):
    assert tracks.efficiency(kind, array(pt), array(abs_eta))[0] == pytest.approx(expected)


@pytest.mark.parametrize(
    ("kind", "pt", "abs_eta", "expected"),
    [
        (tracks.HADRON, 10.0, 0.5, math.hypot(0.06, 0.013)),
        (tracks.HADRON, 10.0, 1.5, math.hypot(0.10, 0.017)),
        (tracks.HADRON, 10.0, 2.5, math.hypot(0.25, 0.031)),
        (tracks.HADRON, 1000.0, 2.0, 1.0),
        (tracks.HADRON, 10.0, 2.6, 0.0),
        (tracks.ELECTRON, 10.0, 0.1, math.hypot(0.03, 0.013)),
        (tracks.MUON, 10.0, 2.0, math.hypot(0.025, 0.0035)),
    ],
)
def test_resolution_is_that_of_the_card(kind, pt, abs_eta, expected):
    assert tracks.pt_resolution(kind, array(pt), array(abs_eta))[0] == pytest.approx(expected)


@pytest.fixture(scope="module")
def muons(make_particles):
    """Muons of 3 GeV, well inside the barrel, and the tracks found of them."""
    phi = np.linspace(-3.1, 3.1, NUM_PARTICLES)
    produced = make_particles(13, 3.0, 0.2, phi)
    return produced, reconstruct(produced)


def test_the_efficiency_is_met(muons):
    expected = 0.99
    error = (expected * (1 - expected) / NUM_PARTICLES) ** 0.5
    assert len(muons[1]) / NUM_PARTICLES == pytest.approx(expected, abs=5 * error)


def test_the_measured_pt_scatters_as_the_resolution_says(muons):
    found = muons[1]
    resolution = math.hypot(0.01, 3e-4)
    np.testing.assert_allclose(found.relative_resolution, resolution)
    assert found.pt.mean() == pytest.approx(3.0, abs=5 * 3 * resolution / len(found) ** 0.5)
    assert found.pt.std() == pytest.approx(3.0 * resolution, rel=0.03)


def test_angles_scatter_by_ten_milliradians_about_the_truth(muons):
    produced, found = muons
    for measured, true in (
        (found.eta, found.unsmeared_eta),
        (found.phi, found.unsmeared_phi),
    ):
        assert (measured - true).std() == pytest.approx(0.01, rel=0.03)
        assert (measured - true).mean() == pytest.approx(0, abs=5 * 0.01 / len(found) ** 0.5)
    np.testing.assert_allclose(found.unsmeared_eta, produced.eta[found.particle])
    np.testing.assert_allclose(found.unsmeared_phi, produced.phi[found.particle], atol=1e-12)


def test_no_track_leaves_the_tracker_beyond_its_end(crossing):
    assert np.abs(crossing.tracks.outer_eta).max() <= 2.5
    assert np.abs(crossing.exits.eta).max() > 4


def test_tracks_come_from_charged_particles_and_never_twice(crossing):
    found = crossing.tracks
    assert (crossing.produced.charge[found.particle] != 0).all()
    assert len(np.unique(found.particle)) == len(found)
    assert (crossing.produced.pt[found.particle] > 0.1).all()


def test_hadrons_come_first_then_electrons_then_muons(crossing):
    found = crossing.tracks
    kind = found.is_electron + 2 * found.is_muon
    assert (np.diff(kind.astype(int)) >= 0).all()
    codes = crossing.produced.abs_pdg_id[found.particle]
    assert set(codes[found.is_electron].tolist()) == {11}
    assert set(codes[found.is_muon].tolist()) == {13}
    assert not {11, 13} & set(codes[found.is_hadron].tolist())


def test_a_track_starts_at_its_exit(crossing):
    found, exits = crossing.tracks, crossing.exits
    np.testing.assert_array_equal(exits.particle[found.exit], found.particle)
    np.testing.assert_array_equal(exits.eta[found.exit], found.outer_eta)
    np.testing.assert_array_equal(exits.phi[found.exit], found.outer_phi)


def test_tracks_are_massless(crossing):
    found = crossing.tracks
    np.testing.assert_allclose(found.energy, found.pt * np.cosh(found.eta), rtol=1e-12)


def test_an_event_without_charged_particles_has_no_tracks(make_particles):
    assert len(reconstruct(make_particles(22, 5.0, 0.1, [0.1, 0.2]))) == 0
