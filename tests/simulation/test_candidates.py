"""Candidates of the particle flow are assigned to their elements."""

import numpy as np
import pytest

from mlpf_jax.simulation import calorimeter, candidates, targets

NO_TRACKS = np.zeros(0)


@pytest.fixture(scope="module")
def of_tracks(crossing):
    scale = crossing.ecal.track_scale * crossing.hcal.track_scale
    return candidates.track_candidates(crossing.produced, crossing.tracks, scale=scale)


@pytest.fixture(scope="module")
def of_towers(crossing):
    return candidates.tower_candidates(crossing.ecal, crossing.hcal, crossing.hits, seed=1, event=0)


def towers(neutral_energy, phi):
    energy = np.array(neutral_energy, np.float64)
    nothing = np.zeros(0, np.int64)
    return calorimeter.Towers(
        energy=energy + 1.0,
        eta=np.zeros_like(energy),
        phi=np.array(phi, np.float64),
        neutral_energy=energy,
        hit_exit=nothing,
        hit_tower=nothing,
        track_scale=NO_TRACKS,
    )


def given_energies(hits, seed=0):
    """One photon of 5 GeV in ECAL tower 0, one hadron of 20 GeV in HCAL tower 0 (number 1)."""
    ecal, hcal = towers([5.0], [0.0]), towers([20.0], [0.0])
    particle, tower = np.array(hits).T
    rows = candidates.tower_candidates(
        ecal,
        hcal,
        targets.TowerHits(particle=particle, tower=tower, num_towers=2),
        seed=seed,
        event=0,
    )
    return rows[:, 6].tolist()


def test_every_track_has_a_candidate_of_its_kind_and_charge(crossing, of_tracks):
    found = crossing.tracks
    np.testing.assert_array_equal(of_tracks[:, 0], targets.track_classes(found))
    np.testing.assert_array_equal(of_tracks[:, 1], crossing.produced.charge[found.particle])
    assert not of_tracks[:, 6].any()


def test_muons_are_taken_from_before_the_angular_smearing_and_are_not_scaled(crossing, of_tracks):
    found = crossing.tracks
    muon = of_tracks[found.is_muon]
    np.testing.assert_array_equal(muon[:, 2], found.pt[found.is_muon])
    np.testing.assert_array_equal(muon[:, 3], found.unsmeared_eta[found.is_muon])
    other = of_tracks[~found.is_muon]
    np.testing.assert_array_equal(other[:, 3], found.eta[~found.is_muon])
    assert not np.array_equal(other[:, 2], found.pt[~found.is_muon])


def test_photons_come_from_ecal_and_neutral_hadrons_from_hcal(crossing, of_towers):
    sources = {3: crossing.ecal.neutral_energy, 2: crossing.hcal.neutral_energy}
    assert set(of_towers[:, 0].tolist()) == {0, 2, 3}
    for class_id, energies in sources.items():
        given = of_towers[of_towers[:, 0] == class_id, 6]
        assert set(given.tolist()) <= set(energies[energies > 0].tolist())


def test_no_candidate_is_given_twice(of_towers):
    energy = of_towers[of_towers[:, 0] > 0, 6]
    assert len(np.unique(energy)) == len(energy)


def test_candidates_of_towers_have_no_charge_and_no_pt(of_towers):
    assert not of_towers[:, [1, 2]].any()
    assert not of_towers[of_towers[:, 0] == 0].any()


def test_most_towers_get_their_own_candidate(crossing, of_towers):
    own = np.concatenate([crossing.ecal.neutral_energy, crossing.hcal.neutral_energy])
    has_own = own > 0
    assert (of_towers[has_own, 6] == own[has_own]).mean() > 0.8


def test_towers_without_shared_particles_get_their_own():
    assert given_energies([(0, 0), (1, 1)]) == [5, 20]


def test_a_tower_without_untracked_particles_gets_nothing():
    assert given_energies([(0, 1)]) == [0, 20]


def test_a_shared_particle_may_exchange_the_candidates_but_loses_none():
    """One K0S in both towers: the first served takes either, the second what is left."""
    results = {tuple(given_energies([(0, 0), (0, 1)], seed=seed)) for seed in range(40)}
    assert results == {(5.0, 20.0), (20.0, 5.0)}


def test_a_tower_with_nothing_of_its_own_may_take_its_partners():
    ecal, hcal = towers([0.0], [0.0]), towers([20.0], [0.5])
    hits = targets.TowerHits(particle=np.array([0, 0]), tower=np.array([0, 1]), num_towers=2)
    rows = [candidates.tower_candidates(ecal, hcal, hits, seed=seed, event=0) for seed in range(40)]
    assert {tuple(r[:, 6].tolist()) for r in rows} == {(20.0, 0.0), (0.0, 20.0)}
    np.testing.assert_allclose([r[r[:, 6] > 0][0, 4] for r in rows], np.sin(0.5))


def test_the_order_of_matching_is_drawn_from_its_own_stream(crossing, of_towers):
    again = candidates.tower_candidates(
        crossing.ecal, crossing.hcal, crossing.hits, seed=1, event=0
    )
    other = candidates.tower_candidates(
        crossing.ecal, crossing.hcal, crossing.hits, seed=1, event=1
    )
    np.testing.assert_array_equal(again, of_towers)
    assert not np.array_equal(other, of_towers)
