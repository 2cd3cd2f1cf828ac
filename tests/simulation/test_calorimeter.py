"""Energy is counted once, measured as the card says, and shared between charged and neutral."""

import math

import numpy as np
import pytest

from mlpf_jax.simulation import calorimeter, propagation, species, tracks

CALORIMETERS = pytest.mark.parametrize("name", ["ecal", "hcal"])


def array(*values):
    return np.array(values, np.float64)


def measure(produced):
    exits = propagation.propagate(produced)
    found = tracks.reconstruct(produced, exits, seed=1, event=0)
    return found, *calorimeter.measure_both(produced, exits, found, seed=1, event=0)


@pytest.mark.parametrize(
    ("eta", "energy", "expected"),
    [
        (0.0, 10.0, math.sqrt(0.0064 + 0.121 + 0.16)),
        (-1.5, 10.0, (1 + 0.64 * 2.25) * math.sqrt(0.0064 + 0.121 + 0.16)),
        (2.5, 10.0, (2.16 + 5.6 * 0.25) * math.sqrt(0.0064 + 0.121 + 0.16)),
        (4.0, 10.0, math.sqrt(1.07**2 + 2.08**2 * 10)),
        (5.1, 10.0, 0.0),
    ],
)
def test_the_ecal_resolution_is_that_of_the_card(eta, energy, expected):
    sigma = calorimeter.ecal_resolution(array(eta), array(energy))[0]
    assert sigma == pytest.approx(expected)


@pytest.mark.parametrize(
    ("eta", "energy", "expected"),
    [
        (0.0, 20.0, math.sqrt(1 + 45)),
        (-3.0, 20.0, math.sqrt(1 + 45)),
        (4.0, 20.0, math.sqrt(2.6**2 + 2.7**2 * 20)),
        (5.1, 20.0, 0.0),
    ],
)
def test_the_hcal_resolution_is_that_of_the_card(eta, energy, expected):
    sigma = calorimeter.hcal_resolution(array(eta), array(energy))[0]
    assert sigma == pytest.approx(expected)


def test_particles_leave_all_energy_once_but_muons_none():
    codes = np.unique(np.abs(species.PDG_ID))
    total = calorimeter.ecal_fractions(codes) + calorimeter.hcal_fractions(codes)
    np.testing.assert_array_equal(total, np.where(codes == species.MUON, 0.0, 1.0))


def test_long_lived_neutrals_share_their_energy():
    assert calorimeter.ecal_fractions(np.array([310, 3122, 130], np.int32)).tolist() == [
        0.3,
        0.3,
        0,
    ]


@pytest.fixture(scope="module")
def photons(make_particles):
    """Photons of 50 GeV in the barrel, each in a cell of its own."""
    phi = (np.arange(60) + 0.5) * 2 * np.pi / 60 - np.pi
    phi, eta = (a.ravel() for a in np.meshgrid(phi, np.linspace(-1.2, 1.2, 40)))
    return make_particles(22, 50.0 / np.cosh(eta), eta, phi)


def test_photon_energies_are_conserved_on_average(photons):
    _, ecal, hcal = measure(photons)
    assert len(hcal) == 0
    assert len(ecal) == len(photons)
    sigma = calorimeter.ecal_resolution(ecal.eta, array(50.0).repeat(len(ecal)))
    pull = (ecal.energy - 50) / sigma
    assert pull.mean() == pytest.approx(0, abs=5 / len(pull) ** 0.5)
    assert pull.std() == pytest.approx(1, rel=0.06)


def test_photons_alone_are_wholly_neutral(photons):
    _, ecal, _ = measure(photons)
    np.testing.assert_array_equal(ecal.neutral_energy, ecal.energy)


def test_energies_of_one_cell_add_up(make_particles):
    pair = make_particles([22, 22], [40.0, 60.0], 0.005, 0.01)
    ecal = measure(pair)[1]
    assert len(ecal) == 1
    assert ecal.hit_exit.tolist() == [0, 1]
    assert ecal.hit_tower.tolist() == [0, 0]
    assert ecal.energy[0] == pytest.approx(100, rel=0.1)


def test_no_tower_is_below_two_standard_deviations(make_particles):
    """Which is 0.83 GeV in the middle of ECAL and 9.09 GeV in HCAL, as in the public events."""
    phi = np.linspace(-3.1, 3.1, 300)
    _, ecal, _ = measure(make_particles(22, 0.8, 0.005, phi))
    eta, phi = (a.ravel() for a in np.meshgrid(np.linspace(-0.8, 0.8, 18), phi[::5]))
    _, _, hcal = measure(make_particles(2112, 8.0, eta, phi))
    assert ecal.energy.min() == pytest.approx(0.83, abs=0.01)
    assert hcal.energy.min() == pytest.approx(9.09, abs=0.15)


def test_muons_leave_no_tower(make_particles):
    found, ecal, hcal = measure(make_particles(13, 100.0, 0.1, np.linspace(0, 3, 50)))
    assert len(found) > 40
    assert len(ecal) == len(hcal) == 0
    assert (ecal.track_scale == 1).all()
    assert (hcal.track_scale == 1).all()


def test_tracks_and_towers_of_hadrons_average_to_the_better_one(make_particles):
    """A pion of 100 GeV: no excess, so the track is scaled towards the cell's energy."""
    pions = make_particles(211, 100.0, 0.3, np.linspace(-3, 3, 60))
    found, ecal, hcal = measure(pions)
    assert (ecal.track_scale == 1).all()
    tower = np.full(len(pions), -1)
    tower[hcal.hit_exit] = hcal.hit_tower
    measured = hcal.energy[tower[found.exit]]
    sigma = calorimeter.hcal_resolution(array(0.3).repeat(len(found)), measured)
    track_sigma = found.relative_resolution * found.energy
    mean = (found.energy / track_sigma**2 + measured / sigma**2) / (track_sigma**-2 + sigma**-2)
    is_charged = hcal.neutral_energy[tower[found.exit]] == 0
    assert is_charged.sum() > 40
    np.testing.assert_allclose(
        (found.energy * hcal.track_scale)[is_charged], mean[is_charged], rtol=1e-3
    )
    np.testing.assert_array_equal(hcal.track_scale[~is_charged], 1)


def test_energy_flow_loses_no_significant_energy(make_particles):
    """A photon on top of an electron: the track keeps its energy, the rest is neutral."""
    pair = make_particles([11, 22], [20.0, 300.0], 0.005, 0.0)
    exits = propagation.propagate(pair.take(np.array([0])))
    pair = make_particles([11, 22], [20.0, 300.0], [0.005, exits.eta[0]], [0.0, exits.phi[0]])
    found, ecal, _ = measure(pair)
    assert len(found) == len(ecal) == 1
    assert ecal.neutral_energy[0] == ecal.energy[0] - found.energy[0]
    assert ecal.track_scale[0] == 1


@CALORIMETERS
def test_every_tower_is_inside_the_cell_of_its_hits(crossing, name):
    towers, cells = (
        getattr(crossing, name),
        {"ecal": calorimeter.ECAL, "hcal": calorimeter.HCAL}[name].cells,
    )
    _, tower_cell = cells.locate(towers.eta, towers.phi)
    _, hit_cell = cells.locate(
        crossing.exits.eta[towers.hit_exit], crossing.exits.phi[towers.hit_exit]
    )
    np.testing.assert_array_equal(tower_cell[towers.hit_tower], hit_cell)
    assert len(np.unique(tower_cell)) == len(towers)
    assert np.abs(towers.eta).max() <= 5


@CALORIMETERS
def test_towers_are_above_noise(crossing, name):
    towers = getattr(crossing, name)
    assert (
        towers.energy.min()
        > {"ecal": calorimeter.ECAL, "hcal": calorimeter.HCAL}[name].min_energy_gev
    )
    assert len(np.unique(towers.hit_tower)) == len(towers), "no tower without a particle"


@CALORIMETERS
def test_neutral_energy_is_a_part_of_the_tower(crossing, name):
    towers = getattr(crossing, name)
    assert (towers.neutral_energy >= 0).all()
    assert (towers.neutral_energy <= towers.energy).all()
    assert (towers.neutral_energy > 0).any()


def test_the_energy_of_an_event_is_measured_without_bias(crossing):
    """All towers above 100 GeV together: noise and thresholds matter little there."""
    produced, exits = crossing.produced, crossing.exits
    energy = produced.energy[exits.particle]
    abs_pdg_id = produced.abs_pdg_id[exits.particle]
    for towers, fractions in (
        (crossing.ecal, calorimeter.ecal_fractions(abs_pdg_id)),
        (crossing.hcal, calorimeter.hcal_fractions(abs_pdg_id)),
    ):
        deposited = np.bincount(towers.hit_tower, (energy * fractions)[towers.hit_exit])
        assert towers.energy.sum() == pytest.approx(deposited.sum(), rel=0.12)
        is_hard = deposited > 100
        assert towers.energy[is_hard].sum() == pytest.approx(deposited[is_hard].sum(), rel=0.05)


def test_only_electrons_are_scaled_in_ecal_and_hadrons_in_hcal(crossing):
    found = crossing.tracks
    assert (crossing.ecal.track_scale[~found.is_electron] == 1).all()
    assert (crossing.hcal.track_scale[~found.is_hadron] == 1).all()
    assert (crossing.hcal.track_scale[found.is_hadron] != 1).mean() > 0.5
