"""Equal sets do not differ, similar ones only by chance, and changed ones where changed."""

import dataclasses

import numpy as np
import pytest
from scipy import stats

from mlpf_jax.events.validation import differences as comparison
from mlpf_jax.events.validation import observables


def differing(first, second):
    return {d.quantity for d in comparison.compare(first, second) if d.is_significant}


def test_a_set_does_not_differ_from_itself(qcd):
    differences = comparison.compare(qcd, qcd)
    assert len(differences) > 90
    assert min(d.p_value for d in differences) == 1


def test_processes_differ_in_their_hard_tracks(qcd, ttbar):
    assert "shape of tracks pt" in differing(qcd, ttbar)


def test_both_sides_are_reported_as_they_were_measured(qcd, ttbar):
    (row,) = [d for d in comparison.compare(ttbar, qcd) if d.quantity == "elements"]
    assert row.first == ttbar.numbers["elements"].mean()
    assert row.second == qcd.numbers["elements"].mean()


def made_of(measured, rng, *, shift=0.0, num_events=200):
    """A measurement of random numbers: Gaussian numbers per event, a spectrum, a response."""
    seen = observables.Observables()
    for _ in range(num_events):
        seen.add_number("elements", rng.normal(100 + shift, 10))
        values = rng.normal(3 + 0.1 * shift, 1, rng.poisson(50) * 2)
        seen.add_spectrum("tracks pt", values, np.linspace(0, 6, 13))
    pairs = rng.normal(1 + 0.01 * shift, 0.1, 5000)
    seen.responses["muon", "pt"].add(np.ones(5000), pairs)
    seen.efficiencies["photon", "eta"].add(rng.uniform(-6, 6, 9000), rng.random(9000) < 0.8)
    seen.confusion[3] = rng.multinomial(9000, [0.1, 0, 0.1, 0.8, 0, 0])
    return dataclasses.replace(
        measured, observables=seen, numbers=seen.numbers(), jet_response=None, num_events=num_events
    )


@pytest.mark.slow
def test_p_values_of_alike_sets_are_uniform(qcd):
    rng = np.random.default_rng(4)
    rounds = [comparison.compare(made_of(qcd, rng), made_of(qcd, rng)) for _ in range(40)]
    for quantity in (
        "elements",
        "shape of tracks pt",
        "response muon pt, mean",
        "efficiencies photon by eta",
        "photon -> photon",
    ):
        p_values = [
            d.p_value for differences in rounds for d in differences if d.quantity == quantity
        ]
        assert len(p_values) == 40
        assert stats.kstest(p_values, "uniform").pvalue > 1e-3


@pytest.mark.parametrize("num_events", [4, 15])
def test_shapes_of_few_events_are_not_compared(qcd, num_events):
    """Their errors come from the scatter between the events."""
    rng = np.random.default_rng(7)
    few, many = made_of(qcd, rng, num_events=num_events), made_of(qcd, rng)

    for sides in ((few, many), (many, few), (few, few)):
        (row,) = [d for d in comparison.compare(*sides) if d.quantity == "shape of tracks pt"]
        assert (row.test, row.p_value) == ("too few", 1)


@pytest.mark.parametrize("quantity", ["elements", "shape of tracks pt", "response muon pt, mean"])
def test_a_shift_is_noticed(qcd, quantity):
    rng = np.random.default_rng(5)
    assert quantity in differing(made_of(qcd, rng), made_of(qcd, rng, shift=5))


def test_all_found_against_none_found_is_a_difference(qcd):
    """With shares of 0 and 1, Gaussian errors are zero."""
    sides = [made_of(qcd, np.random.default_rng(6)) for _ in range(2)]
    for side, is_found in zip(sides, (False, True), strict=True):
        curve = observables.Efficiency(-6.0, 6.0)
        curve.add(np.linspace(-6, 6, 9000), np.full(9000, is_found))
        side.observables.efficiencies["photon", "eta"] = curve
        side.observables.confusion[3] = 0
        side.observables.confusion[3, 3 if is_found else 0] = 30

    found = differing(*sides)

    assert {"efficiencies photon by eta", "photon -> photon", "photon -> none"} <= found
