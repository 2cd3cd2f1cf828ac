"""Particles follow the equation of motion up to the calorimeter's face."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlpf_jax.simulation import propagation

RADIUS, HALF_LENGTH = propagation.RADIUS_M, propagation.HALF_LENGTH_M
GEV_PER_M = 0.299792458 * propagation.FIELD_T  # pT over the radius of the circle
# Prompt particles whose circle barely reaches the barrel.
LOWEST_AFFECTED_GEV, HIGHEST_AFFECTED_GEV = GEV_PER_M * RADIUS / 2, GEV_PER_M * RADIUS / 2**0.5


@pytest.fixture(scope="module")
def pions(make_particles):
    """Displaced pions of both charges that fly everywhere."""
    rng = np.random.default_rng(3)
    n = 400
    return make_particles(
        rng.choice([211, -211], n),
        10 ** rng.uniform(-1.2, 1.5, n),
        rng.uniform(-3.5, 3.5, n),
        rng.uniform(-np.pi, np.pi, n),
        x=rng.uniform(-300, 300, n),
        y=rng.uniform(-300, 300, n),
        z=rng.uniform(-200, 200, n),
    )


def integrate(produced, i, step_m=1e-3):
    """Follows a particle through the field in small steps until it leaves the cylinder.

    A fourth-order Runge-Kutta integration of dp/ds = q B x direction; knows nothing of circles.
    """
    position = 1e-3 * np.array([produced.x[i], produced.y[i], produced.z[i]])
    momentum = np.array([produced.px[i], produced.py[i], produced.pz[i]])
    size = np.linalg.norm(momentum)
    direction = momentum / size
    bend = GEV_PER_M * float(produced.charge[i]) / size

    def turn(d):
        return bend * np.array([d[1], -d[0], 0.0])

    step_m = min(step_m, 0.05 / abs(bend))
    while True:
        k1 = turn(direction)
        k2 = turn(direction + 0.5 * step_m * k1)
        k3 = turn(direction + 0.5 * step_m * k2)
        k4 = turn(direction + step_m * k3)
        previous = position
        position = position + step_m * (direction + step_m / 6 * (k1 + k2 + k3))
        direction = direction + step_m / 6 * (k1 + 2 * k2 + 2 * k3 + k4)
        outside = max(np.hypot(*position[:2]) / RADIUS, abs(position[2]) / HALF_LENGTH)
        if outside >= 1:
            before = max(np.hypot(*previous[:2]) / RADIUS, abs(previous[2]) / HALF_LENGTH)
            return previous + (position - previous) * (1 - before) / (outside - before)


def on_the_face(exits, tolerance=1e-6):
    on_barrel = np.abs(np.hypot(exits.x, exits.y) - RADIUS) < tolerance
    on_endcap = np.abs(np.abs(exits.z) - HALF_LENGTH) < tolerance
    return on_barrel | on_endcap


def test_helices_agree_with_an_integrated_track(pions):
    exits = propagation.propagate(pions, exit_rule=propagation.ExitRule.EXACT)
    assert len(exits) == len(pions)
    fast = [i for i in range(len(pions)) if abs(pions.eta[i]) > 0.3 or pions.pt[i] > 1.5][:40]
    for i in fast:
        expected = integrate(pions, i)
        np.testing.assert_allclose([exits.x[i], exits.y[i], exits.z[i]], expected, atol=1e-5)


def test_exact_exits_lie_on_the_face(pions):
    assert on_the_face(propagation.propagate(pions, exit_rule=propagation.ExitRule.EXACT)).all()


def test_no_exit_lies_outside_of_the_detector(pions):
    for rule in propagation.ExitRule:
        exits = propagation.propagate(pions, exit_rule=rule)
        assert np.hypot(exits.x, exits.y).max() <= RADIUS + 1e-9
        assert np.abs(exits.z).max() <= HALF_LENGTH + 1e-9


def test_exits_of_a_real_event_are_on_the_face_but_for_the_missing_angles(crossing):
    exits = crossing.exits
    pt = crossing.produced.pt[exits.particle]
    is_affected = (pt > LOWEST_AFFECTED_GEV) & (pt < HIGHEST_AFFECTED_GEV)
    is_neutral = crossing.produced.charge[exits.particle] == 0
    assert on_the_face(exits)[is_neutral].all()
    is_prompt = np.hypot(crossing.produced.x, crossing.produced.y)[exits.particle] == 0
    assert on_the_face(exits)[is_prompt & ~is_affected].all()
    assert not on_the_face(exits)[is_prompt].all()


@given(pt=st.floats(0.74, 1.03), phi=st.floats(-3.1, 3.1), charge=st.sampled_from([-1, 1]))
def test_the_rule_of_2021_stops_some_prompt_tracks_early(make_particles, pt, phi, charge):
    pion = make_particles(211 * charge, pt, 0.2, phi)
    exits = propagation.propagate(pion, exit_rule=propagation.ExitRule.DELPHES_2021)
    radius = pt / GEV_PER_M
    assert np.hypot(exits.x, exits.y)[0] == pytest.approx((4 * radius**2 - RADIUS**2) ** 0.5)


@given(
    pt=st.floats(0.1, 0.73) | st.floats(1.04, 50),
    eta=st.floats(1e-3, 3) | st.floats(-3, -1e-3),
    phi=st.floats(-3.1, 3.1),
    charge=st.sampled_from([-1, 1]),
)
def test_both_rules_agree_on_all_other_prompt_tracks(make_particles, pt, eta, phi, charge):
    pion = make_particles(211 * charge, pt, eta, phi)
    exits = [propagation.propagate(pion, exit_rule=rule) for rule in propagation.ExitRule]
    for name in ("x", "y", "z"):
        assert getattr(exits[0], name) == pytest.approx(getattr(exits[1], name), abs=1e-9)


def test_neutral_particles_fly_straight(make_particles):
    rng = np.random.default_rng(0)
    photons = make_particles(
        22, rng.uniform(0.1, 9, 300), rng.uniform(-5, 5, 300), rng.uniform(-3, 3, 300), x=40, z=90
    )
    exits = propagation.propagate(photons)
    flight = np.stack([exits.x - 0.04, exits.y, exits.z - 0.09])
    momentum = np.stack([photons.px, photons.py, photons.pz])
    cross = np.cross(flight, momentum, axis=0)
    np.testing.assert_allclose(cross / np.linalg.norm(momentum, axis=0), 0, atol=1e-12)
    assert ((flight * momentum).sum(axis=0) > 0).all()
    assert on_the_face(exits).all()
    assert np.isnan(exits.perigee_phi).all()


def test_slow_particles_curl_to_the_end_caps(make_particles):
    curling = make_particles([211, -211], 0.4, [0.5, -0.5], 1.0)
    exits = propagation.propagate(curling)
    np.testing.assert_allclose(exits.z, [HALF_LENGTH, -HALF_LENGTH])
    assert (np.hypot(exits.x, exits.y) < 2 * 0.4 / 0.3 / 3.8).all()


def test_a_particle_that_circles_for_ever_ends_where_it_starts(make_particles):
    exits = propagation.propagate(make_particles(211, 0.4, 0.0, 1.0, x=30, z=7))
    np.testing.assert_allclose([exits.x[0], exits.y[0], exits.z[0]], [0.03, 0, 0.007], atol=1e-12)


def test_positive_particles_turn_clockwise(make_particles):
    pair = make_particles([211, -211], 2.0, 0.0, 0.0)
    exits = propagation.propagate(pair)
    assert exits.phi[0] < 0 < exits.phi[1]
    assert exits.phi[0] == pytest.approx(-exits.phi[1])


def test_the_perigee_direction_of_a_prompt_particle_is_its_own(make_particles):
    phi = np.linspace(-3, 3, 13)
    prompt = make_particles(-13, 5.0, 0.3, phi)
    np.testing.assert_allclose(propagation.propagate(prompt).perigee_phi, phi, atol=1e-12)


def test_the_perigee_is_at_right_angles_to_the_centre_of_the_circle(pions):
    exits = propagation.propagate(pions)
    radius = pions.pt / (GEV_PER_M * pions.charge)
    centre_x = 1e-3 * pions.x + radius * np.sin(pions.phi)
    centre_y = 1e-3 * pions.y - radius * np.cos(pions.phi)
    along = centre_x * np.cos(exits.perigee_phi) + centre_y * np.sin(exits.perigee_phi)
    np.testing.assert_allclose(along, 0, atol=1e-9)


def test_particles_from_outside_of_the_detector_are_left_out(make_particles):
    produced = make_particles(
        [211, 22, 22, 211], 1.0, 0.1, 0.0, x=[0, 1291, 0, 0], z=[0, 0, 3001, 1]
    )
    assert propagation.propagate(produced).particle.tolist() == [0, 3]


def test_exits_keep_the_order_of_the_particles(make_particles):
    produced = make_particles([22, 211, 130, -11, 22], 3.0, 0.5, 0.0)
    assert propagation.propagate(produced).particle.tolist() == [0, 1, 2, 3, 4]
