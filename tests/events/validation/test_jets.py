"""Jets are found where energy is deposited. Needs the extra `validate`."""

import numpy as np
import pytest

pytest.importorskip("fastjet")

from mlpf_jax.events.validation import jets, observables


def particles(pt, eta, phi, class_id=1):
    pt, eta, phi = (np.array(v, np.float64) for v in (pt, eta, phi))
    return observables.Particles(
        class_id=np.broadcast_to(np.array(class_id), pt.shape).copy(),
        pt=pt,
        eta=eta,
        px=pt * np.cos(phi),
        py=pt * np.sin(phi),
        energy=pt * np.cosh(eta),
    )


def test_near_particles_form_one_jet_and_distant_ones_two(capfd):
    near = particles([50, 30], [0.5, 0.6], [1.0, 1.1])
    far = particles([50, 30], [0.5, 1.5], [1.0, 1.1])
    one, two = jets.cluster([near, far])
    assert one.pt == pytest.approx([80], rel=1e-2)
    assert one.eta[0] == pytest.approx(0.54, abs=0.01)
    assert two.pt == pytest.approx([50, 30])
    assert two.phi == pytest.approx([1.0, 1.1])
    assert capfd.readouterr().out == "", "a banner would spoil the table"


def test_soft_jets_and_rows_without_a_class_are_left_out():
    soft = particles([19.0], [0.0], [0.0])
    nothing = particles([50.0], [0.0], [0.0], class_id=0)
    assert [len(found) for found in jets.cluster([soft, nothing])] == [0, 0]


def test_jets_across_the_seam_of_phi_are_one():
    found = jets.cluster([particles([50, 40], [0, 0], [3.1, -3.1])])[0]
    assert len(found) == 1


def test_jets_are_those_of_a_plain_implementation():
    """Compared with the definition: repeatedly take the smallest of d_ij and d_iB."""
    rng = np.random.default_rng(0)
    event = particles(rng.exponential(20, 30), rng.uniform(-2, 2, 30), rng.uniform(-3, 3, 30))
    found = jets.cluster([event])[0]
    momenta = [
        np.array([event.px[i], event.py[i], event.pt[i] * np.sinh(event.eta[i]), event.energy[i]])
        for i in range(30)
    ]
    expected = sorted(anti_kt(momenta), reverse=True)
    np.testing.assert_allclose(found.pt, [pt for pt in expected if pt > 20])


def anti_kt(momenta):
    momenta, jet_pts = list(momenta), []
    while momenta:
        pt = np.array([np.hypot(p[0], p[1]) for p in momenta])
        y = np.array([0.5 * np.log((p[3] + p[2]) / (p[3] - p[2])) for p in momenta])
        phi = np.array([np.arctan2(p[1], p[0]) for p in momenta])
        delta_phi = (phi[:, None] - phi + np.pi) % (2 * np.pi) - np.pi
        squared = (y[:, None] - y) ** 2 + delta_phi**2
        weight = np.minimum(pt[:, None] ** -2, pt**-2)
        distance = weight * squared / jets.RADIUS**2
        np.fill_diagonal(distance, pt**-2)
        i, j = np.unravel_index(distance.argmin(), distance.shape)
        if i == j:
            jet_pts.append(pt[i])
            del momenta[i]
        else:
            momenta[i] = momenta[i] + momenta[j]
            del momenta[j]
    return jet_pts


def test_targets_are_matched_to_the_nearest_candidate():
    targets = jets.Jets(pt=np.array([90.0, 60, 30]), eta=np.zeros(3), phi=np.array([0.0, 3.1, 1]))
    candidates = jets.Jets(pt=np.array([80.0, 50]), eta=np.zeros(2), phi=np.array([0.1, -3.1]))
    pairs = jets.match(targets, candidates)
    assert pairs[0].tolist() == [90, 60]
    assert pairs[1].tolist() == [80, 50]
    nothing = jets.Jets(pt=np.zeros(0), eta=np.zeros(0), phi=np.zeros(0))
    assert [len(side) for side in jets.match(targets, nothing)] == [0, 0]
