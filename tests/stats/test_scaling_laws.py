"""Speed-ups, efficiencies and serial fractions: exact without noise, with valid intervals else."""

import math

import hypothesis
import numpy as np
import pytest
import scipy.stats
from hypothesis import strategies as st

from mlpf_jax.stats import scaling_laws

DEVICES = (1, 2, 4, 8)
LAWS = ("Amdahl", "Gustafson")


def rounds_of(law, fraction, *, levels=(100.0,), noise=0.0, seed=0):
    rng = np.random.default_rng(seed)
    return [
        {
            n: level * scaling_laws.speedup(law, fraction, n) * math.exp(noise * rng.normal())
            for n in DEVICES
        }
        for level in levels
    ]


@hypothesis.given(st.lists(st.floats(-1e3, 1e3), min_size=2, max_size=9))
def test_the_interval_of_a_mean_is_students(values):
    hypothesis.assume(np.std(values) > 1e-6)
    found = scaling_laws.mean(values)

    interval = scipy.stats.ttest_1samp(values, 0.0).confidence_interval(0.95)
    assert found.value == pytest.approx(np.mean(values))
    assert [found.low, found.high] == pytest.approx([interval.low, interval.high])


def test_a_single_run_has_no_interval():
    found = scaling_laws.ratios([{1: 10.0, 2: 18.0}], 1)

    assert found[2].value == pytest.approx(1.8)
    assert (found[2].low, found[2].high) == (0.0, math.inf)
    assert found[1] == scaling_laws.Estimate(1.0, 1.0, 1.0, 1)


@pytest.mark.parametrize("average", [scaling_laws.mean, scaling_laws.mean_of_fractions])
def test_a_single_value_has_no_interval_and_none_has_no_mean(average):
    assert average([0.5]) == scaling_laws.Estimate(0.5, -math.inf, math.inf, 1)
    for values in ([], [math.nan]):
        with pytest.raises(ValueError, match="at least one"):
            average(values)


def test_the_laws_give_the_known_speed_ups():
    """Of a twentieth that is serial on 20 devices; without any, both are ideal."""
    assert scaling_laws.speedup("Amdahl", 0.05, 20) == pytest.approx(20 / 1.95)
    assert scaling_laws.speedup("Gustafson", 0.05, 20) == pytest.approx(19.05)
    for law in LAWS:
        assert [scaling_laws.speedup(law, f, 20) for f in (0.0, 1.0)] == pytest.approx([20, 1])


@pytest.mark.parametrize("law", LAWS)
@hypothesis.given(
    fraction=st.floats(-0.1, 1.1), levels=st.lists(st.floats(1e-3, 1e6), min_size=1, max_size=3)
)
def test_without_noise_the_fraction_is_exact_for_any_level_of_a_round(law, fraction, levels):
    found = scaling_laws.serial_fraction(rounds_of(law, fraction, levels=levels), law)

    assert found.value == pytest.approx(fraction, abs=1e-6)
    assert found.low == pytest.approx(fraction, abs=1e-4)
    assert found.high == pytest.approx(fraction, abs=1e-4)
    assert found.misfit < 1e-6


@pytest.mark.parametrize("law", LAWS)
def test_the_interval_of_the_fraction_has_the_stated_coverage(law):
    held = 0
    for seed in range(150):
        rounds = rounds_of(law, 0.05, levels=(90.0, 100.0, 105.0), noise=0.02, seed=seed)
        found = scaling_laws.serial_fraction(rounds, law)
        held += found.low <= 0.05 <= found.high

    assert scipy.stats.binomtest(held, 150, 0.95).pvalue > 0.001


def test_the_interval_of_an_efficiency_has_the_stated_coverage():
    truth = scaling_laws.speedup("Amdahl", 0.05, 8) / 8
    held = 0
    for seed in range(500):
        rounds = rounds_of("Amdahl", 0.05, levels=(90.0, 100.0, 140.0), noise=0.02, seed=seed)
        found = scaling_laws.efficiencies(scaling_laws.ratios(rounds, 1), 1)[8]
        held += found.low <= truth <= found.high

    assert scipy.stats.binomtest(held, 500, 0.95).pvalue > 0.001


def test_more_than_ideal_is_below_zero_and_slower_than_one_device_above_one():
    for law in LAWS:
        assert scaling_laws.serial_fraction([{1: 1.0, 2: 2.2}], law).value < 0
        assert scaling_laws.serial_fraction([{1: 1.0, 2: 0.8}], law).value > 1


def test_runs_off_the_law_widen_its_interval():
    fitting = rounds_of("Amdahl", 0.1, levels=(1.0, 1.0), noise=0.001)
    missing = [{**values, 8: 0.5 * values[8]} for values in fitting]

    near, far = (scaling_laws.serial_fraction(rounds, "Amdahl") for rounds in (fitting, missing))

    assert far.misfit > 10 * near.misfit
    assert far.high - far.low > 10 * (near.high - near.low)


def test_one_ratio_gives_a_fraction_without_an_interval():
    found = scaling_laws.serial_fraction([{1: 10.0, 4: 20.0}], "Amdahl")

    assert found.value == pytest.approx(1 / 3)
    assert (found.low, found.high, found.misfit) == (-math.inf, math.inf, None)


def test_missing_runs_do_not_affect_other_runs():
    whole = rounds_of("Amdahl", 0.1, levels=(90.0, 100.0, 110.0))
    gaps = [whole[0], {n: whole[1][n] for n in (2, 8)}, {1: whole[2][1]}]

    assert scaling_laws.serial_fraction(gaps, "Amdahl").value == pytest.approx(0.1)
    assert scaling_laws.ratios(gaps, 1)[8].count == 1


def test_the_speed_up_refers_to_the_smallest_number_of_devices_with_runs():
    speedups = scaling_laws.ratios([{2: 20.0, 8: 60.0}], 2)

    assert scaling_laws.efficiencies(speedups, 2)[8].value == pytest.approx(0.75)


@pytest.mark.parametrize("rounds", [[], [{1: 1.0}], [{2: 1.0, 4: 1.5}]])
def test_a_fit_without_one_and_several_devices_is_refused(rounds):
    with pytest.raises(ValueError, match="one device and with several"):
        scaling_laws.serial_fraction(rounds, "Amdahl")


@pytest.mark.parametrize("rate", [0.0, -1.0, math.nan, math.inf])
def test_a_throughput_that_is_not_positive_and_finite_is_refused(rate):
    with pytest.raises(ValueError, match="throughputs must be"):
        scaling_laws.ratios([{1: rate, 2: 1.0}], 1)


@pytest.mark.parametrize(
    "values",
    [
        [0.42265625, 0.96171875, 0.996875],
        [0.0, 1.0],
        [0.0, 0.0, 1.0],
        [1.0, 1.0],
        [0.0],
        [0.5, 0.6],
    ],
)
def test_the_interval_of_fractions_stays_within_0_and_1_and_contains_their_mean(values):
    found = scaling_laws.mean_of_fractions(values)

    assert found.value == pytest.approx(np.mean(values))
    if found.count > 1:
        assert 0 <= found.low <= found.value <= found.high <= 1


def test_the_interval_of_fractions_far_from_the_ends_is_students():
    values = [0.501, 0.499, 0.503]
    bounded, plain = scaling_laws.mean_of_fractions(values), scaling_laws.mean(values)

    assert (bounded.low, bounded.high) == pytest.approx((plain.low, plain.high), abs=1e-4)


def test_the_interval_of_fractions_covers_their_mean_as_often_as_students_where_they_crowd():
    rng = np.random.default_rng(1)
    drawn = rng.beta(30, 1.5, (2000, 6))
    truth = 30 / 31.5

    def covered(average):
        found = [average(list(map(float, values))) for values in drawn]
        return np.mean([one.low <= truth <= one.high for one in found])

    assert covered(scaling_laws.mean_of_fractions) > covered(scaling_laws.mean) > 0.88


def test_values_outside_0_and_1_are_refused_as_fractions():
    with pytest.raises(ValueError, match="fractions must be"):
        scaling_laws.mean_of_fractions([0.5, 1.5])


def test_changes_of_fractions_stay_within_a_change_from_0_to_1():
    found = scaling_laws.changes_of_fractions([{1: 0.99, 2: 0.4}, {1: 0.99, 2: 0.99}], 1)

    assert found[1] == scaling_laws.Estimate(0.0, 0.0, 0.0, 2)
    assert -1 <= found[2].low < found[2].value < found[2].high <= 1
