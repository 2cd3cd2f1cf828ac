"""The published numbers are those of the paper's figures, in the binning of the observables."""

import numpy as np
import pytest

from mlpf_jax.events.validation import observables, published


@pytest.fixture(params=["ttbar", "qcd"])
def numbers(request):
    return published.of_process(request.param)


def test_means_per_event_are_those_of_the_figures():
    ttbar, qcd = published.of_process("ttbar"), published.of_process("qcd")
    assert ttbar.mean_targets("charged_hadron") == pytest.approx(2609.0, abs=0.1)
    assert qcd.mean_targets("photon") == pytest.approx(1302.3, abs=0.1)
    assert qcd.mean_targets("muon") == pytest.approx(2.04, abs=0.01)
    assert ttbar.mean_without_target == pytest.approx(165.7, abs=0.1)
    assert sum(qcd.share(name) or 0 for name in observables.CLASSES) == pytest.approx(1)


def test_spectra_have_the_bins_of_the_observables(numbers):
    for (name, variable), mean in numbers.spectra.items():
        assert name in observables.PARTICLES
        assert len(mean) == len(observables.EDGES[variable]) - 1
        assert (mean >= 0).all()


def test_spectra_of_pt_and_eta_count_the_same_particles(numbers):
    for name in observables.PARTICLES:
        by_pt, by_eta = (numbers.spectra[name, v].sum() for v in ("pt", "eta"))
        assert by_pt == pytest.approx(by_eta, rel=1e-2), "pT ends at 100 GeV"


def test_curves_have_the_bins_of_the_observables(numbers):
    curves = numbers.efficiencies | numbers.fake_rates
    assert curves.keys() <= observables.EFFICIENCY_RANGES.keys()
    for values in curves.values():
        assert len(values) == observables.EFFICIENCY_BINS
        assert ((values >= 0) & (values <= 1)).all()


def test_multiplicities_are_those_of_the_spectra(numbers):
    for name, points in numbers.multiplicities.items():
        error = points[:, 0].std() / len(points) ** 0.5
        assert points[:, 0].mean() == pytest.approx(numbers.mean_targets(name), abs=4 * error)


def test_rows_of_the_confusion_matrix_add_up_to_one():
    confusion = published.of_process("qcd").confusion
    assert confusion is not None
    np.testing.assert_allclose(confusion.sum(axis=1), 1, atol=0.015)


def test_nothing_is_known_of_other_processes():
    nothing = published.of_process("higgs")
    assert nothing.num_elements is nothing.mean_targets("muon") is nothing.share("none") is None
    assert not nothing.spectra


def test_every_kind_of_number_has_its_source():
    assert {"spectra", "confusion", "efficiency", "mean_num_elements"} <= set(published.sources())
