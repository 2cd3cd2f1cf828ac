"""The error bounds of the gate's decision hold for any kind of noise."""

import math

import numpy as np
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st

from mlpf_jax.stats import sequential

LIMITS = sequential.Limits()
THRESHOLD = math.log1p(LIMITS.threshold)
MOST = sequential.MOST_PAIRS


def verdicts(noise, slowdown, num_trials, most_pairs=MOST, limits=LIMITS):
    """How often each verdict is reached on that noise, and with how many pairs on average."""
    counts = dict.fromkeys(("regression", "no regression", "undecided"), 0)
    num_pairs = 0
    for trial in range(num_trials):
        values = noise(np.random.default_rng(trial), most_pairs) + math.log1p(slowdown)
        decision = sequential.decide(values.tolist(), limits)
        counts[decision.verdict] += 1
        num_pairs += decision.num_first + decision.num_confirming
    return {name: count / num_trials for name, count in counts.items()}, num_pairs / num_trials


def normal(sigma):
    return lambda rng, count: sigma * rng.standard_normal(count)


def heavy_tailed(sigma):
    return lambda rng, count: sigma * rng.standard_t(2, count)


def with_outliers(sigma):
    def noise(rng, count):
        values = sigma * rng.standard_normal(count)
        hit = rng.random(count) < 0.05
        return values + hit * rng.choice([-0.4, 0.4], count)

    return noise


def of_a_drifting_machine(sigma):
    """Costs of single runs, autocorrelated and drifting, taken in the order A B B A or B A A B."""

    def noise(rng, count):
        costs = np.zeros(2 * count + 2)
        for i in range(1, costs.size):
            costs[i] = 0.6 * costs[i - 1] + 0.8 * sigma / math.sqrt(2) * rng.standard_normal()
        costs += 0.01 * np.arange(costs.size)
        signs = np.repeat(rng.choice([-1, 1], (count + 1) // 2), 2)[:count]
        signs[1::2] *= -1
        return signs * (costs[0 : 2 * count : 2] - costs[1 : 2 * count : 2])

    return noise


NOISES = [normal, heavy_tailed, with_outliers, of_a_drifting_machine]


@given(st.lists(st.floats(-1, 1) | st.just(0.0), min_size=1, max_size=8))
def test_the_p_value_counts_the_signs_that_say_as_much(values):
    scores = np.minimum(scipy.stats.rankdata(np.abs(values), "ordinal"), (len(values) + 1) // 2)
    against = scores[np.asarray(values) <= 0].sum()

    signs = np.indices((2,) * len(values)).reshape(len(values), -1)
    expected = np.mean(scores @ signs <= against)

    assert sequential.p_value(np.asarray(values, float)) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("sequence", "bound"), [(sequential._FIRST, 0.036), (sequential._CONFIRMING, 0.088)]
)
def test_the_rate_of_false_slowdowns_in_a_sequence_is_as_stated(sequence, bound):
    """For any magnitudes, because the test uses only signs of ranks."""
    found = crossing(sequence.looks, sequence.first_level, sequence.later_level)
    assert bound - 0.008 < found < bound + 0.003


def test_the_false_alarm_rate_of_all_timed_measures_together_is_at_most_1_percent():
    both = [
        crossing(one.looks, one.first_level, one.later_level)
        for one in (sequential._FIRST, sequential._CONFIRMING)
    ]

    assert sequential.MOST_TIMED_MEASURES * math.prod(both) < 0.01


def test_the_rate_of_missing_a_slowdown_by_the_threshold_is_as_stated():
    looks = [look for look in sequential._FIRST.looks if look >= sequential._FEWEST_FINE]
    levels = sequential._FINE_FIRST_LEVEL, sequential._FINE_LATER_LEVEL
    assert 0.015 < crossing(looks, *levels) < 0.026


def crossing(looks, first_level, later_level, num_trials=20_000):
    """The share of random signs for which any evaluation is below its level."""
    rng = np.random.default_rng(0)
    values = rng.standard_normal((num_trials, looks[-1]))
    crossed = np.zeros(num_trials, bool)
    for place, look in enumerate(looks):
        level = later_level if place else first_level
        ranks = np.argsort(np.argsort(np.abs(values[:, :look]), axis=1), axis=1) + 1
        against = (np.minimum(ranks, (look + 1) // 2) * (values[:, :look] < 0)).sum(axis=1)
        crossed |= sequential._null(look)[against] <= level
    return crossed.mean()


@pytest.mark.parametrize("noise", NOISES)
def test_false_alarms_are_rare_on_any_noise(noise):
    """Of one measure; there are three. The noise is as large as the threshold: the worst case."""
    rates, _ = verdicts(noise(0.05), 0.0, 500)
    assert rates["regression"] <= 0.0033 + 0.0077  # three standard deviations of 500 trials


@pytest.mark.parametrize("noise", NOISES)
@pytest.mark.parametrize(
    ("slowdown", "least"), [(0.05, 0.95), pytest.param(0.15, 0.99, marks=pytest.mark.slow)]
)
def test_slowdowns_are_caught(noise, slowdown, least):
    rates, _ = verdicts(noise(0.02), slowdown, 300)
    assert rates["regression"] >= least - 0.02
    assert rates["undecided"] <= 0.05


def test_on_a_quiet_machine_six_pairs_suffice_to_pass_and_ten_to_fail():
    for slowdown, expected, num_pairs in ((0.0, "no regression", 6), (0.15, "regression", 10)):
        rates, mean = verdicts(normal(0.01), slowdown, 100)
        assert rates[expected] == 1
        assert mean == pytest.approx(num_pairs, abs=0.1)


def test_a_small_slowdown_on_a_quiet_machine_is_no_regression():
    rates, _ = verdicts(normal(0.005), 0.03, 100)
    assert rates["no regression"] == 1


def test_noise_far_above_the_threshold_leaves_it_undecided():
    rates, _ = verdicts(normal(0.3), 0.0, 200)
    assert rates["regression"] <= 0.03
    assert rates["undecided"] > 0.7


def test_a_slowdown_must_be_confirmed_by_fresh_pairs():
    slower, same = [0.2, 0.21, 0.19, 0.2, 0.22, 0.18], [0.01, -0.01, 0.02, -0.02, 0.0, 0.01]

    assert sequential.decide(slower, LIMITS) == sequential.Decision("undecided", False, 6, 0)
    assert sequential.decide(slower + same, LIMITS).verdict == "no regression"
    confirmed = sequential.decide(slower + slower[:4], LIMITS)
    assert confirmed == sequential.Decision("regression", True, 6, 4)


def test_recorded_noise_keeps_a_few_pairs_that_agree_from_deciding():
    agreeing = [0.055, 0.06, 0.05, 0.052, 0.061, 0.05] * 2

    assert sequential.decide(agreeing, LIMITS).verdict == "regression"
    noisy = sequential.Limits(noise=0.2)
    assert sequential.decide(agreeing, noisy).verdict == "undecided"


def test_slowdowns_up_to_the_allowance_are_ignored():
    values = [0.03, 0.031, 0.029, 0.055, 0.06, 0.058] * 2
    assert sequential.decide(values, LIMITS).verdict == "regression"
    allowing = sequential.Limits(allowance=0.04)
    assert sequential.decide(values, allowing).verdict != "regression"


def test_a_cost_without_noise_may_rise_up_to_the_threshold():
    assert sequential.decide_exact(100.0, 105.0, LIMITS).verdict == "no regression"
    assert sequential.decide_exact(100.0, 106.0, LIMITS).verdict == "regression"


@pytest.mark.parametrize("pairs", [0, 1, 5])
def test_too_few_pairs_decide_nothing(pairs):
    decision = sequential.decide([1.0] * pairs, LIMITS)
    assert decision == sequential.Decision("undecided", False, pairs, 0)


def test_more_pairs_than_there_are_looks_change_nothing():
    values = [(-1.0) ** i for i in range(MOST + 10)]
    decision = sequential.decide(values, LIMITS)
    assert (decision.verdict, decision.is_final) == ("undecided", True)


@pytest.mark.parametrize(
    "changes", [{"threshold": 0.0}, {"allowance": 0.05}, {"noise": -1.0}, {"threshold": 11.0}]
)
def test_impossible_limits_are_refused(changes):
    with pytest.raises(ValueError, match="the threshold must be above the allowance"):
        sequential.Limits(**changes)


def test_costs_must_be_positive_and_slowdowns_finite():
    with pytest.raises(ValueError, match="positive"):
        sequential.slowdowns([1.0, 0.0], [1.0, 1.0])
    with pytest.raises(ValueError, match="finite"):
        sequential.decide([math.nan], LIMITS)


def test_the_ratio_is_of_costs():
    ratio = sequential.ratio(sequential.slowdowns([1.0] * 8, [1.2] * 8))
    assert ratio.value == pytest.approx(1.2)


@pytest.mark.parametrize("count", [3, 4, 6, 9, 12])
def test_the_noise_of_few_pairs_is_right_on_average(count):
    values = np.random.default_rng(0).standard_normal((4000, count))

    found = [sequential.spread(one) for one in values.tolist()]

    assert np.mean(found) == pytest.approx(1.0, abs=0.05)


def test_slowdowns_without_any_noise_confirm_nothing():
    noisy = [0.1 + 1e-4 * (-1) ** number for number in range(20)]

    assert sequential.decide(noisy, sequential.Limits()).verdict == "regression"
    assert sequential.decide([0.1] * 20, sequential.Limits()).verdict == "undecided"
    assert sequential.decide([0.0] * 20, sequential.Limits()).verdict == "no regression"


def test_the_smallest_slowdown_that_is_found_is_the_threshold_or_what_the_noise_allows(monkeypatch):
    monkeypatch.setattr(sequential, "_SIMULATIONS", 40)

    calm, noisy = (sequential.smallest_found(noise, 14, LIMITS) for noise in (0.002, 0.05))

    assert 0.03 < calm < 0.055, "less is often shown to be below the threshold"
    assert 0.08 < noisy < 0.2
    assert sequential.smallest_found(0.01, 8, LIMITS) == math.inf  # six and four are needed
