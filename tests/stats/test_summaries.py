"""Summaries against NumPy, SciPy and simulated noise; drift and steady state by their rules."""

import itertools
import math

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from mlpf_jax.stats import summaries as stats
from tests.stats import noise

positive = st.floats(0.1, 10.0)


def steady_series(kind, num_series, count):
    """Step times around 1 with no trend and no warm-up."""
    return np.exp(noise.logs(kind, np.random.default_rng(5), (num_series, count))).tolist()


@settings(max_examples=20)
@given(st.lists(positive, min_size=1, max_size=12))
def test_summary_agrees_with_numpy_and_its_interval_holds_the_median(values):
    summary = stats.summarize(values)

    assert summary.count == len(values)
    assert summary.median == pytest.approx(np.median(values))
    assert summary.min <= summary.interval_low <= summary.median + 1e-12
    assert summary.median - 1e-12 <= summary.interval_high <= summary.max
    assert summary.spread == pytest.approx(
        scipy.stats.median_abs_deviation(values, scale="normal"), rel=1e-4
    )
    assert 1 <= summary.effective_count <= len(values)


@settings(max_examples=20)
@given(st.lists(positive, min_size=2, max_size=12))
def test_a_summary_in_another_unit_is_the_same(values):
    summary, scaled = stats.summarize(values), stats.summarize([1024 * v for v in values])

    assert scaled.interval_low == pytest.approx(1024 * summary.interval_low)
    assert scaled.interval_high == pytest.approx(1024 * summary.interval_high)
    assert scaled.spread == pytest.approx(1024 * summary.spread)
    assert scaled.effective_count == summary.effective_count


def test_without_correlation_the_interval_is_the_percentile_bootstraps():
    ordered = np.sort(np.random.default_rng(3).lognormal(size=200))
    alternating = np.stack([ordered[:100], ordered[:99:-1]], axis=1).ravel().tolist()
    assert stats.effective_count(alternating) == 200
    oracle = scipy.stats.bootstrap(
        (alternating,), np.median, method="percentile", rng=np.random.default_rng(0)
    ).confidence_interval

    summary = stats.summarize(alternating)

    assert summary.interval_low == pytest.approx(oracle.low, rel=0.03)
    assert summary.interval_high == pytest.approx(oracle.high, rel=0.03)


def covered(series, truth):
    summaries = [stats.summarize(values) for values in series]
    return np.mean([s.interval_low <= truth <= s.interval_high for s in summaries])


def test_the_interval_covers_the_true_median_with_the_stated_probability():
    series = np.random.default_rng(1).lognormal(size=(400, 20))
    assert covered(series.tolist(), 1.0) > 0.94


@pytest.mark.parametrize(("count", "least"), [(10, 0.85), (30, 0.90), (100, 0.93)])
def test_the_coverage_is_nearly_the_same_for_correlated_samples(count, least):
    series = noise.first_order(np.random.default_rng(2), (400, count), 0.6)
    assert covered(series.tolist(), 0.0) > least


@pytest.mark.parametrize(
    ("count", "correlation", "least"),
    [(6, 0.0, 0.95), (9, 0.0, 0.95), (9, 0.3, 0.91), (9, 0.6, 0.82), (12, 0.6, 0.86)],
)
def test_the_coverage_of_the_interval_of_few_samples_is_as_documented(count, correlation, least):
    series = noise.first_order(np.random.default_rng(11), (300, count), correlation)
    assert covered(series.tolist(), 0.0) > least


@pytest.mark.parametrize("values", [[], [math.nan], [1.0, math.inf]])
@pytest.mark.parametrize(
    "function",
    [stats.summarize, stats.effective_count, stats.correlation_p_value, stats.drift],
    ids=lambda f: f.__name__,
)
def test_empty_or_non_finite_values_are_refused(function, values):
    with pytest.raises(ValueError, match="all must be finite"):
        function(values)


def test_the_same_values_give_the_same_interval():
    values = [1.0, 1.2, 0.9, 1.1, 1.05]
    assert stats.summarize(values) == stats.summarize(values)


@settings(max_examples=30)
@given(st.lists(positive, min_size=1, max_size=40))
def test_the_effective_count_is_that_of_the_inverse_and_of_the_reversed_values(values):
    count = stats.effective_count(values)

    assert 1 <= count <= len(values)
    assert stats.effective_count(values[::-1]) == pytest.approx(count)
    if len({1 / v for v in values}) == len(set(values)):
        assert stats.effective_count([1 / v for v in values]) == pytest.approx(count)


def test_equal_and_alternating_values_count_fully():
    assert stats.effective_count([2.0] * 12) == 12
    assert stats.effective_count([1.0, 2.0] * 10) == 20


@pytest.mark.parametrize(
    ("count", "correlation", "low", "high"),
    [(300, 0.0, 0.8, 1.0), (300, 0.6, 0.2, 0.31), (30, 0.6, 0.2, 0.3), (20, 0.3, 0.5, 0.6)],
)
def test_the_effective_count_follows_the_theory_of_first_order_noise(count, correlation, low, high):
    """One over (1 + r) / (1 - r) of them, with some too few to be safe. Few need a correction."""
    series = noise.first_order(np.random.default_rng(7), (200, count), correlation)
    shares = [stats.effective_count(values) / count for values in series.tolist()]
    assert low < np.mean(shares) <= high


def test_an_outlier_does_not_hide_a_correlation():
    values = noise.first_order(np.random.default_rng(8), (200,), 0.8)
    before = stats.effective_count(values.tolist())
    values[60] = 1e6

    assert stats.effective_count(values.tolist()) == pytest.approx(before, rel=0.2)


def test_the_false_alarm_rate_of_the_correlation_test_is_as_stated():
    """Over all orders of six, which are equally likely."""
    orders = itertools.permutations([0.0, 1.0, 2.0, 3.0, 4.0, 5.0])
    p_values = [stats.correlation_p_value(order) for order in orders]
    for level in (0.01, 0.05):
        assert np.mean(np.array(p_values) < level) == pytest.approx(level, rel=0.25)


@pytest.mark.parametrize("kind", ["normal", "heavy tails", "outliers"])
@pytest.mark.parametrize("count", [9, 30])
def test_independent_noise_is_rarely_called_correlated(kind, count):
    series = steady_series(kind, 500, count)
    assert np.mean([stats.correlation_p_value(values) < 0.01 for values in series]) < 0.02


def test_correlated_values_and_drifts_are_called_so_once_there_are_enough():
    correlated = steady_series("correlated", 200, 30)
    assert np.mean([stats.correlation_p_value(values) < 0.01 for values in correlated]) > 0.75
    assert stats.summarize([1.0, 1.1, 1.2, 1.3, 1.4, 1.5, 1.6]).is_correlated


def test_equal_values_and_those_too_few_to_tell_are_not_called_correlated():
    assert stats.correlation_p_value([2.0] * 12) == 1
    assert stats.correlation_p_value([1.0, 2.0, 3.0]) == 1


def false_drifts(kind, count, num_series):
    verdicts = [stats.drift(values).verdict for values in steady_series(kind, num_series, count)]
    return verdicts.count("drifting") / num_series


@pytest.mark.parametrize("kind", noise.KINDS)
def test_noise_is_rarely_called_a_drift(kind):
    assert false_drifts(kind, 30, 300) <= 0.01


@pytest.mark.slow
@pytest.mark.parametrize("count", [15, 30, 100])
@pytest.mark.parametrize("kind", noise.KINDS)
def test_noise_is_called_a_drift_in_one_of_a_hundred_cases_at_most(kind, count):
    assert false_drifts(kind, count, 2000) <= 0.01 + 2 * math.sqrt(0.01 / 2000)


@pytest.mark.parametrize("change", [-0.1, 0.1])
def test_a_drift_is_found_with_its_size_and_sign(change):
    errors = 0.01 * np.random.default_rng(4).standard_normal(30)
    drift = stats.drift((5 * (1 + change * np.linspace(-0.5, 0.5, 30) + errors)).tolist())

    assert drift.verdict == "drifting"
    assert drift.change == pytest.approx(change, abs=0.02)
    assert drift.p_value < 0.001


def test_a_drift_too_small_to_matter_is_none():
    errors = 0.001 * np.random.default_rng(4).standard_normal(60)
    drift = stats.drift((1 + np.linspace(0, 0.01, 60) + errors).tolist())

    assert drift.p_value < 0.001
    assert drift.verdict == "none"


def test_a_drift_backwards_is_its_opposite():
    values = np.random.default_rng(6).lognormal(sigma=0.1, size=25)
    drift, backwards = stats.drift(values.tolist()), stats.drift(values[::-1].tolist())

    assert backwards.change == pytest.approx(-drift.change)
    assert backwards.p_value == pytest.approx(drift.p_value)


def test_too_few_or_too_similar_samples_show_no_drift():
    assert stats.drift([1.0, 2.0, 3.0]).verdict == "too few samples"
    zigzag = [1.0 + 0.1 * i + 0.02 * (i % 2) for i in range(10)]
    assert stats.drift(zigzag[:9]) == stats.Drift(0.0, 1.0, "too few samples")
    assert stats.drift(zigzag).verdict == "drifting"
    long_waves = np.sin(np.linspace(0, 2 * np.pi, 12)).tolist()
    assert stats.drift([10.0 + wave for wave in long_waves]).verdict == "too few samples"
    assert stats.drift([3.0] * 20) == stats.Drift(0.0, 1.0, "none")


def test_the_drift_of_a_long_run_is_found_without_memory_for_every_pair():
    times = np.random.default_rng(5).normal(10 * np.linspace(0.95, 1.05, 20_000), 0.1)
    drift = stats.drift(times.tolist())

    assert drift.verdict == "drifting"
    assert drift.change == pytest.approx(0.1, abs=0.001)


@pytest.mark.parametrize(
    ("times", "expected"),
    [
        ([1.0, 1.01, 0.99, 1.0, 1.02, 0.98], 0),
        ([3.0, 1.0, 1.01, 0.99, 1.0, 1.0], 1),
        ([3.0, 3.1, 3.0, 1.0, 1.01, 0.99, 1.0, 1.0], 3),  # a heap that grows for three steps
        ([1.0, 1.0, 3.0, 1.0, 1.0, 1.0], 0),  # one slow sample in the middle is not warming up
        ([3.0, 1.0, 1.0, 3.0, 1.0, 1.0], 0),  # nor is one in front, if another follows
        ([3.0, 3.0, *[1.0] * 20, 3.0], 2),  # two in front are, if there is but one more in many
        ([1.0, 1.01, 1.5, 1.52, 1.5, 1.51], 0),  # a machine that slows down is not, either
        ([1.09, 1.0, 1.0, 1.0, 1.0, 1.0], 0),  # a tenth is the least
        ([1.0], 0),
        ([2.0, 1.0], 0),
        ([2.0, 1.0, 1.0], 0),
    ],
)
def test_the_steady_state_begins_by_the_rule(times, expected):
    assert stats.steady_start(times) == expected


@settings(max_examples=100)
@given(st.lists(positive, max_size=30))
def test_at_most_half_is_removed_and_three_samples_are_left(times):
    cut = stats.steady_start(times)
    assert cut <= len(times) // 2
    assert cut == 0 or len(times) - cut >= 3


@settings(max_examples=50)
@given(st.lists(positive, max_size=20))
def test_warm_up_samples_are_slower_than_the_median_of_the_rest_in_any_unit(times):
    cut = stats.steady_start(times)

    assert stats.steady_start([1024 * time for time in times]) == cut
    assert all(time > 1.1 * np.median(times[cut:]) for time in times[:cut])


def plain_steady_start(times):
    """The rule as it is written, which tries every cut."""
    for num_cut in range(min(len(times) // 2, len(times) - 3), 0, -1):
        early, later = np.array(times[:num_cut]), np.array(times[num_cut:])
        allowed = max(0.1 * np.median(later), 5 * (1 + 6 / len(later)) * stats.spread(later))
        limit = np.median(later) + allowed
        if np.all(early > limit):
            others = np.count_nonzero(later > limit)
            chance = math.comb(num_cut + others, num_cut) / math.comb(len(times), num_cut)
            return num_cut if not others or chance <= 0.05 else 0
    return 0


@settings(max_examples=40)
@given(
    st.lists(st.sampled_from([1.0, 1.01, 1.02, 1.1, 1.11, 1.3, 3.0]), max_size=12),
    st.lists(st.floats(1.0, 1.2), max_size=12),
    st.sampled_from([2.0**-10, 1.0]),
)
def test_cuts_that_are_not_tried_would_not_have_been_made(first, others, unit):
    times = [unit * time for time in first + others]
    assert stats.steady_start(times) == plain_steady_start(times)


def share_cut(series, least=1):
    return np.mean([stats.steady_start(values) >= least for values in series])


@pytest.mark.parametrize("count", [4, 6, 10, 30])
@pytest.mark.parametrize("kind", ["normal", "correlated", "heavy tails"])
def test_noise_is_rarely_taken_for_warm_up(kind, count):
    assert share_cut(steady_series(kind, 300, count)) <= 0.02


@pytest.mark.parametrize("count", [10, 30])
def test_a_machine_with_slow_samples_now_and_then_keeps_most_of_its_first(count):
    """One of twenty is slow. A single leading slow sample looks like warm-up."""
    assert share_cut(steady_series("outliers", 300, count)) <= 0.05 * 0.95 ** (count - 1) + 0.03


@pytest.mark.parametrize("trend", [0.2, -0.2])
def test_a_trend_is_not_taken_for_warm_up(trend):
    errors = 0.03 * np.random.default_rng(3).standard_normal((300, 20))
    assert share_cut((1 + trend * np.linspace(0, 1, 20) + errors).tolist()) <= 0.01


@pytest.mark.parametrize("length", [1, 2, 3, 4])
def test_a_growing_heap_is_removed_completely(length):
    times = 1 + 0.05 * np.random.default_rng(9).standard_normal((300, 20))
    times[:, :length] += 1

    assert share_cut(times.tolist(), least=length) > 0.98
