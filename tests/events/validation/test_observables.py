"""Accumulated observables equal loops over all particles."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlpf_jax.events import store
from mlpf_jax.events.validation import observables


@pytest.fixture(scope="module")
def events(sets):
    opened = store.open_store(sets / "qcd")
    return [opened.event(i) for i in range(opened.num_events)]


def row(class_id, pt, eta, phi, energy):
    return [class_id, 0, pt, eta, np.sin(phi), np.cos(phi), energy]


def event(targets, candidates):
    rows = [np.array(side, np.float32).reshape(-1, 7) for side in (targets, candidates)]
    elements = np.tile(
        np.array([1, 5, 0.1, 0, 1, 6, 6, 0, 0, 0, 0, 0], np.float32), (len(rows[0]), 1)
    )
    return store.Event(elements=elements, targets=rows[0], candidates=rows[1])


def test_missing_pt_and_energy_are_those_of_a_massless_particle():
    rows = np.array([row(1, 3.0, 1.2, 0.5, 0.0), row(3, 0.0, -2.0, 0.5, 9.0)], np.float32)
    particles = observables.particles_of(rows)
    np.testing.assert_allclose(particles.energy, [3 * np.cosh(1.2), 9], rtol=1e-6)
    np.testing.assert_allclose(particles.pt, [3, 9 / np.cosh(2.0)], rtol=1e-6)


def test_only_the_first_6400_rows_count():
    rows = np.tile(np.array(row(3, 1.0, 0.0, 0.0, 1.0), np.float32), (7000, 1))
    assert len(observables.particles_of(rows).pt) == 6400


def test_classes_that_do_not_exist_are_refused():
    with pytest.raises(ValueError, match="classes are 0 to 5"):
        observables.particles_of(np.array([row(6, 1, 0, 0, 1)], np.float32))


def test_absurd_numbers_do_not_overflow():
    rows = np.array([row(1, 1e30, 1e6, 0.0, 0.0), row(2, 0.0, -1e6, 0.0, 1e30)], np.float32)
    particles = observables.particles_of(rows)
    assert np.isfinite(particles.energy).all()
    assert np.isfinite(particles.pt).all()


def test_counts_are_those_of_the_rows(events, qcd):
    for i, e in enumerate(events):
        assert qcd.numbers["elements"][i] == len(e.elements)
        assert qcd.numbers["tracks"][i] == np.sum(e.elements[:, 0] == 2)
        assert qcd.numbers["ECAL towers"][i] == np.sum(
            (e.elements[:, 0] == 1) & (e.elements[:, 6] > 0)
        )
        assert qcd.numbers["targets photon"][i] == np.sum(e.targets[:, 0] == 3)
        assert qcd.numbers["candidates muon"][i] == np.sum(e.candidates[:, 0] == 5)


def test_spectra_hold_every_particle_inside_their_edges(events, qcd):
    spectrum = qcd.observables.spectra["targets photon eta"]
    eta = np.concatenate([e.targets[e.targets[:, 0] == 3, 3] for e in events])
    np.testing.assert_array_equal(spectrum.counts, np.histogram(eta, spectrum.edges)[0])
    assert spectrum.per_event.sum() == pytest.approx(qcd.numbers["targets photon"].mean())


def test_confusion_counts_every_element(events, qcd):
    expected = np.zeros((6, 6), int)
    for e in events:
        for target, candidate in zip(e.targets[:, 0], e.candidates[:, 0], strict=True):
            expected[int(target), int(candidate)] += 1
    np.testing.assert_array_equal(qcd.observables.confusion, expected)


def test_missing_pt_is_the_length_of_the_sum(events, qcd):
    e = events[2]
    exists = e.targets[:, 0] > 0
    pt = e.targets[exists, 2].astype(float)
    total = (pt * e.targets[exists, 5]).sum(), (pt * e.targets[exists, 4]).sum()
    assert qcd.numbers["targets missing pT"][2] == pytest.approx(np.hypot(*total), rel=1e-6)


@given(st.lists(st.lists(st.floats(0, 10), max_size=6), min_size=2, max_size=8))
def test_errors_of_a_spectrum_are_those_of_its_bins_between_events(values):
    edges = np.array([0.0, 3.0, 10.0])
    spectrum = observables.Spectrum(edges)
    for event_values in values:
        spectrum.add(np.array(event_values))
    counts = np.array([np.histogram(v, edges)[0] for v in values])
    np.testing.assert_allclose(spectrum.per_event, counts.mean(axis=0))
    expected = counts.std(axis=0) / len(values) ** 0.5
    np.testing.assert_allclose(spectrum.per_event_errors, expected, atol=1e-7)
    expected = counts.sum(axis=1).std() / len(values) ** 0.5
    assert spectrum.total_error == pytest.approx(expected, abs=1e-7)


def test_errors_of_shapes_know_that_particles_of_an_event_hang_together():
    """Pairs that always fall together scatter as half as many independent ones."""
    rng = np.random.default_rng(0)
    single, paired = (observables.Spectrum(np.array([0.0, 0.5, 1.0])) for _ in range(2))
    for _ in range(2000):
        values = rng.random(10)
        single.add(values)
        paired.add(np.repeat(values, 2))
    np.testing.assert_allclose(single.fractions, paired.fractions)
    np.testing.assert_allclose(single.fraction_errors, paired.fraction_errors)
    assert single.fraction_errors[0] == pytest.approx((0.25 / 20_000) ** 0.5, rel=0.05)


def test_a_response_has_the_moments_of_its_pairs():
    rng = np.random.default_rng(1)
    target = rng.uniform(1, 5, 20_000)
    response = observables.Response()
    for part in np.split(target, 4):
        response.add(part, part * rng.normal(0.9, 0.2, len(part)))
    assert response.num == 20_000
    assert response.mean == pytest.approx(-0.1, abs=5 * response.mean_error)
    assert response.deviation == pytest.approx(0.2, abs=5 * response.deviation_error)
    assert response.mean_error == pytest.approx(0.2 / 20_000**0.5, rel=0.05)
    assert response.deviation_error == pytest.approx(0.2 / 40_000**0.5, rel=0.05)


def test_a_target_of_zero_has_no_response():
    response = observables.Response()
    response.add(np.array([0.0, 2.0]), np.array([1.0, 3.0]))
    assert (response.num, response.mean) == (1, 0.5)


def test_efficiency_and_fake_rate_count_what_they_say():
    seen = observables.Observables()
    photon, hadron = row(3, 9, 0.5, 0, 10.1), row(2, 19, 0.5, 0, 21.4)
    nothing = [0.0] * 7
    targets = [photon, photon, photon, hadron, nothing]
    candidates = [photon, hadron, nothing, photon, photon]
    seen.add(event(targets, candidates))
    efficiency, fake_rate = (
        curves["photon", "eta"] for curves in (seen.efficiencies, seen.fake_rates)
    )
    assert (efficiency.found.sum(), efficiency.all.sum()) == (1, 3)
    assert (fake_rate.found.sum(), fake_rate.all.sum()) == (1, 2), "without a target, no fake"


def test_an_event_without_elements_is_an_event():
    seen = observables.Observables()
    seen.add(event([], []))
    assert seen.numbers()["elements"].tolist() == [0]
    assert seen.numbers()["targets missing pT"].tolist() == [0]


def test_events_that_are_cut_are_counted():
    seen = observables.Observables()
    seen.add(event([row(3, 1, 0, 0, 1)] * 6401, [row(3, 0, 0, 0, 1)] * 6401))
    assert seen.num_cut == 1
    assert seen.numbers()["elements"].tolist() == [6401]
    assert seen.numbers()["targets photon"].tolist() == [6400]


@pytest.mark.parametrize("share", [0.0, 0.02, 0.5, 0.98, 1.0])
def test_the_error_of_a_share_is_that_of_its_scatter_and_never_none(share):
    found = np.random.default_rng(2).binomial(200, share, 300)
    errors = [observables.share_error(n, 200.0) for n in found.astype(float)]

    assert np.mean(errors) == pytest.approx(
        max((share * (1 - share) / 200) ** 0.5, 0.0025), rel=0.1
    )
    assert min(errors) > 0


def test_of_no_particles_any_share_is_possible():
    assert observables.share_error(0.0, 0.0) == 0.5
