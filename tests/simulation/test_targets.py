"""Each element's target is the particle, or the sum of the particles, behind it."""

import numpy as np
import pytest

from mlpf_jax.simulation import targets


@pytest.fixture(scope="module")
def rows(crossing):
    """The targets of all towers of the event."""
    return targets.tower_targets(crossing.produced, crossing.hits)


def target_of_one_tower(produced):
    number = np.arange(len(produced))
    hits = targets.TowerHits(particle=number, tower=np.zeros_like(number), num_towers=1)
    return targets.tower_targets(produced, hits)[0]


def test_the_target_of_a_track_is_its_particle(crossing):
    produced, particle = crossing.produced, crossing.tracks.particle
    row = targets.track_targets(produced, crossing.tracks)
    np.testing.assert_array_equal(row[:, 1], np.sign(produced.pdg_id[particle]))
    np.testing.assert_allclose(row[:, 2], produced.pt[particle])
    np.testing.assert_allclose(row[:, 3], produced.eta[particle])
    np.testing.assert_allclose(row[:, 2] * row[:, 4], produced.py[particle], atol=1e-9)
    np.testing.assert_allclose(row[:, 2] * row[:, 5], produced.px[particle], atol=1e-9)
    np.testing.assert_allclose(row[:, 6], produced.energy[particle])


def test_tracks_are_charged_hadrons_electrons_or_muons(crossing):
    classes = targets.track_classes(crossing.tracks)
    abs_pdg_id = crossing.produced.abs_pdg_id[crossing.tracks.particle]
    expected = [{11: 4, 13: 5}.get(code, 1) for code in abs_pdg_id.tolist()]
    assert classes.tolist() == expected


def test_electrons_have_the_sign_of_their_code_not_their_charge(crossing):
    row = targets.track_targets(crossing.produced, crossing.tracks)
    charge = crossing.produced.charge[crossing.tracks.particle]
    is_lepton = row[:, 0] >= targets.ParticleClass.ELECTRON
    assert is_lepton.any()
    np.testing.assert_array_equal(row[is_lepton, 1], -charge[is_lepton])


def test_particles_with_a_track_count_in_no_tower(crossing):
    assert not set(crossing.hits.particle.tolist()) & set(crossing.tracks.particle.tolist())
    num_all = len(crossing.ecal.hit_exit) + len(crossing.hcal.hit_exit)
    assert 0 < len(crossing.hits.particle) < num_all


def test_every_particle_that_leaves_energy_has_an_element(crossing):
    """No untracked particle in a tower is lost, and no row of targets is without an element."""
    exits, ecal, hcal = crossing.exits, crossing.ecal, crossing.hcal
    in_towers = exits.particle[np.concatenate([ecal.hit_exit, hcal.hit_exit])]
    covered = set(crossing.tracks.particle.tolist()) | set(crossing.hits.particle.tolist())
    assert set(in_towers.tolist()) <= covered
    assert crossing.hits.num_towers == len(ecal) + len(hcal)
    assert crossing.hits.tower.max() < crossing.hits.num_towers


def test_the_target_of_a_tower_is_the_sum_of_its_particles(crossing, rows):
    """Against a loop over the particles of each tower."""
    produced, hits = crossing.produced, crossing.hits
    members = {}
    for particle, tower in zip(hits.particle.tolist(), hits.tower.tolist(), strict=True):
        members.setdefault(tower, []).append(particle)
    for tower in range(hits.num_towers):
        inside = members.get(tower, [])
        if not rows[tower].any():  # empty, or soft neutral hadrons
            assert produced.energy[inside].sum() < targets.MIN_NEUTRAL_HADRON_GEV
            continue
        px, py = produced.px[inside].sum(), produced.py[inside].sum()
        expected = [np.hypot(px, py), produced.energy[inside].sum()]
        np.testing.assert_allclose(rows[tower, [2, 6]], expected, rtol=1e-9)
        np.testing.assert_allclose(
            rows[tower, 2] * rows[tower, [4, 5]], [py, px], rtol=1e-9, atol=1e-9
        )
        sinh_eta = produced.pz[inside].sum() / np.hypot(px, py)
        assert np.sinh(rows[tower, 3]) == pytest.approx(sinh_eta, rel=1e-9, abs=1e-9)
    assert not rows[sorted(set(range(hits.num_towers)) - set(members))].any()


def test_the_mass_of_a_tower_is_not_negative(rows):
    momentum = rows[:, 2] * np.cosh(rows[:, 3])
    assert (rows[:, 6] >= momentum * (1 - 1e-9)).all()


@pytest.mark.parametrize(
    ("codes", "pt", "eta", "expected"),
    [
        ([22], 1.0, 0.0, targets.ParticleClass.PHOTON),
        ([11], 1.0, 0.0, targets.ParticleClass.ELECTRON),
        ([211], 1.0, 0.0, targets.ParticleClass.CHARGED_HADRON),
        ([-321], 1.0, 0.0, targets.ParticleClass.CHARGED_HADRON),
        ([211], 9.0, 2.6, targets.ParticleClass.NEUTRAL_HADRON),
        ([211], 1.0, 2.6, targets.ParticleClass.NONE),
        ([130], 8.9, 0.0, targets.ParticleClass.NONE),
        ([130], 9.1, 0.0, targets.ParticleClass.NEUTRAL_HADRON),
        ([3122], 20.0, 0.0, targets.ParticleClass.NEUTRAL_HADRON),
        ([22, 130], [1.0, 20.0], 0.0, targets.ParticleClass.NEUTRAL_HADRON),
        ([22, 130, 22], [6.0, 10.0, 6.0], 0.0, targets.ParticleClass.PHOTON),
        ([22, 211, 2212], [3.0, 2.0, 2.0], 0.0, targets.ParticleClass.CHARGED_HADRON),
    ],
)
def test_the_class_is_that_of_the_most_energetic_kind(make_particles, codes, pt, eta, expected):
    row = target_of_one_tower(make_particles(codes, pt, eta, 0.0))
    assert row[0] == expected
    assert row[1] == (
        expected in {targets.ParticleClass.CHARGED_HADRON, targets.ParticleClass.ELECTRON}
    )
    assert row.any() == (expected != targets.ParticleClass.NONE)


def test_a_tower_without_untracked_particles_has_no_target(make_particles):
    hits = targets.TowerHits(particle=np.array([0]), tower=np.array([1]), num_towers=3)
    rows = targets.tower_targets(make_particles(22, 5.0, 0.0, 0.0), hits)
    assert rows.any(axis=1).tolist() == [False, True, False]
