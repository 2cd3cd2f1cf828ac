"""Ratios, their intervals and their errors: against SciPy and by simulated noise."""

import dataclasses
import math

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from mlpf_jax.stats import comparison
from tests.stats import noise

positive = st.floats(0.1, 10.0)
sides = st.lists(positive, min_size=1, max_size=12)
pairs = st.lists(st.tuples(positive, positive), min_size=1, max_size=12)
CENTRE = comparison.Ratio(value=1.0, low=0.9, high=1.1, p_value=0.5, count=20)


def interleaved(kind, num_series, num_pairs, drift=0.0):
    """Measurements in the order A B B A, as (series, pair, side), drifting as a whole."""
    rng = np.random.default_rng(11)
    logs = noise.logs(kind, rng, (num_series, 2 * num_pairs)) + np.linspace(0, drift, 2 * num_pairs)
    paired = np.exp(logs).reshape(num_series, num_pairs, 2)
    paired[:, 1::2] = paired[:, 1::2, ::-1]
    return paired


def of_pairs(paired):
    return [comparison.paired_ratio(p[:, 0].tolist(), p[:, 1].tolist()) for p in paired]


def alarms(ratios, level):
    return np.mean([ratio.p_value <= level for ratio in ratios])


def are_as_seldom_as_said(ratios):
    """Checks the false-alarm rates at 5 % and 1 %, within the error of the simulation."""
    return all(
        alarms(ratios, level) <= level + 2 * math.sqrt(level / len(ratios))
        for level in (0.05, 0.01)
    )


def swapped(ratio):
    return dataclasses.replace(
        ratio,
        value=1 / ratio.value,
        low=1 / ratio.high,
        high=1 / ratio.low if ratio.low else math.inf,
    )


def approx(ratio):
    return pytest.approx(dataclasses.astuple(ratio), rel=1e-9)


@pytest.mark.parametrize("count", [1, 5, 6, 20, 60])
def test_the_paired_p_value_is_that_of_the_signed_rank_test(count):
    rng = np.random.default_rng(count)
    a = rng.lognormal(size=count)
    b = a * rng.lognormal(0.3, 0.5, size=count)

    ratio = comparison.paired_ratio(a.tolist(), b.tolist())

    expected = scipy.stats.wilcoxon(np.log(b / a), method="exact").pvalue
    assert ratio.p_value == pytest.approx(expected, rel=1e-6)


def test_beyond_exact_sizes_the_paired_p_value_is_the_normal_one():
    differences = np.random.default_rng(1).normal(0.02, 0.1, size=150)

    ratio = comparison.paired_ratio([1.0] * 150, np.exp(differences).tolist())

    expected = scipy.stats.wilcoxon(differences, method="asymptotic", correction=True).pvalue
    assert ratio.p_value == pytest.approx(expected, rel=1e-3)


@pytest.mark.parametrize(("num_a", "num_b"), [(1, 1), (3, 3), (4, 9), (20, 30), (40, 35)])
def test_the_independent_p_value_is_that_of_the_rank_sum_test(num_a, num_b):
    rng = np.random.default_rng(num_a)
    a, b = rng.lognormal(size=num_a), rng.lognormal(0.5, size=num_b)

    ratio = comparison.independent_ratio(a.tolist(), b.tolist(), correlated=False)

    method = "exact" if num_a * num_b <= 900 else "asymptotic"
    expected = scipy.stats.mannwhitneyu(a, b, method=method).pvalue
    assert ratio.p_value == pytest.approx(expected, rel=1e-6)


def test_the_paired_interval_ends_where_the_test_begins_to_reject():
    rng = np.random.default_rng(2)
    logs = rng.normal(0.1, 0.3, size=15)
    ratio = comparison.paired_ratio([1.0] * 15, np.exp(logs).tolist())

    for bound, inwards in ((ratio.low, 1e-6), (ratio.high, -1e-6)):
        inside, outside = math.log(bound) + inwards, math.log(bound) - inwards
        assert scipy.stats.wilcoxon(logs - inside, method="exact").pvalue > 0.05
        assert scipy.stats.wilcoxon(logs - outside, method="exact").pvalue <= 0.05


def test_the_independent_interval_ends_where_the_test_begins_to_reject():
    rng = np.random.default_rng(3)
    a, b = rng.normal(0, 0.3, size=9), rng.normal(0.2, 0.3, size=12)
    ratio = comparison.independent_ratio(np.exp(a).tolist(), np.exp(b).tolist(), correlated=False)

    for bound, inwards in ((ratio.low, 1e-6), (ratio.high, -1e-6)):
        inside, outside = math.log(bound) + inwards, math.log(bound) - inwards
        assert scipy.stats.mannwhitneyu(a, b - inside, method="exact").pvalue > 0.05
        assert scipy.stats.mannwhitneyu(a, b - outside, method="exact").pvalue <= 0.05


@settings(max_examples=40)
@given(pairs)
def test_swapping_the_sides_of_pairs_inverts_the_ratio(values):
    a, b = map(list, zip(*values, strict=True))
    back = dataclasses.astuple(comparison.paired_ratio(b, a))

    assert back == approx(swapped(comparison.paired_ratio(a, b)))


@settings(max_examples=40)
@given(sides, sides, st.sampled_from([0.0, 0.03]), st.booleans())
def test_swapping_independent_sides_inverts_the_ratio(a, b, run_noise, correlated):
    options = {"run_noise": run_noise, "correlated": correlated}
    there = comparison.independent_ratio(a, b, **options)
    back = comparison.independent_ratio(b, a, **options)

    assert dataclasses.astuple(back) == approx(swapped(there))


@settings(max_examples=30)
@given(pairs, st.randoms(use_true_random=False))
def test_a_ratio_of_pairs_does_not_depend_on_unit_or_order(values, random):
    a, b = map(list, zip(*values, strict=True))
    ratio = comparison.paired_ratio(a, b)
    random.shuffle(values)
    shuffled = comparison.paired_ratio([8 * x for x, _ in values], [16 * y for _, y in values])

    assert shuffled.value == pytest.approx(2 * ratio.value)
    assert shuffled.low == pytest.approx(2 * ratio.low)
    assert shuffled.high == pytest.approx(2 * ratio.high)


@settings(max_examples=30)
@given(sides, sides)
def test_the_order_of_uncorrelated_values_does_not_matter(a, b):
    ratio = comparison.independent_ratio(a, b, correlated=False)
    assert comparison.independent_ratio(sorted(a), b[::-1], correlated=False) == ratio


@settings(max_examples=40)
@given(sides, sides, st.floats(0, 0.2), st.booleans())
def test_an_interval_contains_its_ratio_and_widens_with_run_noise(a, b, run_noise, correlated):
    ratio = comparison.independent_ratio(a, b, correlated=correlated)
    noisy = comparison.independent_ratio(a, b, correlated=correlated, run_noise=run_noise)

    assert noisy.value == ratio.value
    assert noisy.low <= ratio.low * (1 + 1e-9) <= ratio.value * (1 + 2e-9)
    assert ratio.value <= ratio.high * (1 + 1e-9) <= noisy.high * (1 + 2e-9)
    assert noisy.p_value >= ratio.p_value - 1e-9


whole = st.lists(st.integers(20, 30).map(float), min_size=3, max_size=12)


@settings(max_examples=60)
@given(whole, whole, st.floats(0.7, 1.4), st.sampled_from([0.0, 0.05]), st.booleans())
def test_an_interval_excludes_one_if_the_p_value_rejects_it(a, b, change, run_noise, correlated):
    b = [change * value for value in b]
    ratio = comparison.independent_ratio(a, b, run_noise=run_noise, correlated=correlated)

    assert (ratio.p_value <= 0.05) == (not ratio.low <= 1 <= ratio.high)


def test_samples_of_long_processes_are_compared_without_memory_for_every_pair():
    a, b = np.random.default_rng(7).normal(10.0, 0.2, (2, 20_000))
    ratio = comparison.independent_ratio(a.tolist(), (1.01 * b).tolist())

    assert ratio.low < 1.01 < ratio.high
    assert ratio.high - ratio.low < 0.004
    assert comparison.verdict(ratio) == "faster"


def test_equal_sides_have_a_ratio_of_one_and_no_verdict():
    values = [1.0, 1.1, 0.9, 1.05, 0.95, 1.02, 0.98]

    for ratio in (
        comparison.paired_ratio(values, values),
        comparison.independent_ratio(values, values, run_noise=0.03),
        comparison.independent_ratio([2.0] * 9, [2.0] * 9),
    ):
        assert ratio.value == 1.0
        assert ratio.p_value == pytest.approx(1.0)
        assert comparison.verdict(ratio) == "cannot tell"


def test_too_few_values_leave_every_ratio_possible():
    fives = comparison.paired_ratio([1.0] * 5, [2.0] * 5)
    threes = comparison.independent_ratio([1.0, 1.1, 1.2], [4.0, 4.1, 4.2], correlated=False)

    for ratio in (fives, threes):
        assert (ratio.low, ratio.high) == (0.0, math.inf)
        assert comparison.verdict(ratio) == "cannot tell"
    assert comparison.verdict(comparison.paired_ratio([1.0] * 6, [2.0] * 6)) == "faster"


def test_the_smallest_p_values_are_those_of_sides_that_lie_apart():
    low = [1.0 + 0.1 * i for i in range(6)]
    high = [5.0 + 0.01 * i**2 for i in range(6)]

    apart = comparison.independent_ratio(low[:4], high, correlated=False)
    assert comparison.smallest_independent_p_value(4, 6) == pytest.approx(apart.p_value)
    assert comparison.smallest_independent_p_value(5, 5) == pytest.approx(2 / 252)
    assert comparison.are_enough_processes(4, 4)
    assert not comparison.are_enough_processes(3, 4)  # 2 / 35


@pytest.mark.parametrize("kind", noise.INDEPENDENT)
def test_pairs_of_equal_sides_rarely_differ_although_the_machine_drifts(kind):
    assert are_as_seldom_as_said(of_pairs(interleaved(kind, 400, 12, drift=0.3)))


def test_the_correlation_that_interleaving_leaves_costs_little():
    ratios = of_pairs(interleaved("correlated", 600, 12))

    assert alarms(ratios, 0.05) <= 0.075
    assert alarms(ratios, 0.01) <= 0.02


@pytest.mark.slow
@pytest.mark.parametrize("kind", noise.INDEPENDENT)
def test_the_false_alarm_rate_of_pairs_is_as_stated(kind):
    assert are_as_seldom_as_said(of_pairs(interleaved(kind, 6000, 12, drift=0.3)))


def of_series(kind, num_series, count, shift=0.0):
    """One series a side, each of one process."""
    logs = noise.logs(kind, np.random.default_rng(12), (num_series, 2, count))
    logs[:, 1] += shift
    values = np.exp(logs).tolist()
    return [comparison.independent_ratio(a, b) for a, b in values]


@pytest.mark.parametrize("count", [8, pytest.param(30, marks=pytest.mark.slow)])
@pytest.mark.parametrize("kind", noise.KINDS)
def test_series_of_equal_speed_rarely_differ(kind, count):
    assert are_as_seldom_as_said(of_series(kind, 300, count))


@pytest.mark.slow
@pytest.mark.parametrize("count", [5, 8, 15, 30, 60])
@pytest.mark.parametrize("kind", noise.KINDS)
def test_the_false_alarm_rate_of_series_is_as_stated(kind, count):
    assert are_as_seldom_as_said(of_series(kind, 3000, count))


@pytest.mark.parametrize(("count", "found"), [(30, 0.7), (60, 0.95)])
def test_the_interval_of_correlated_series_covers_the_true_ratio(count, found):
    """With fewer than six independent values a side, rank tests cannot reject anything."""
    ratios = of_series("correlated", 300, count, shift=math.log(1.2))

    assert np.mean([ratio.low <= 1.2 <= ratio.high for ratio in ratios]) > 0.95
    assert np.mean([comparison.verdict(ratio) == "faster" for ratio in ratios]) > found


def test_the_noise_of_runs_is_covered_when_its_size_is_known():
    rng = np.random.default_rng(13)
    runs = 0.03 * rng.standard_normal((400, 2, 1))
    values = np.exp(runs + 0.02 * rng.standard_normal((400, 2, 20))).tolist()

    known = [comparison.independent_ratio(a, b, run_noise=0.03) for a, b in values]
    ignored = [comparison.independent_ratio(a, b) for a, b in values]

    assert 0.93 < np.mean([r.low <= 1 <= r.high for r in known]) < 0.99
    assert alarms(known, 0.05) < 0.07
    assert alarms(ignored, 0.05) > 0.3


def test_constant_values_leave_the_noise_of_runs_alone():
    ratio = comparison.independent_ratio([1.0] * 30, [1.1] * 30, run_noise=0.03)

    half = 1.96 * math.sqrt(2) * 0.03
    assert ratio.low == pytest.approx(1.1 * math.exp(-half), rel=1e-4)
    assert ratio.high == pytest.approx(1.1 * math.exp(half), rel=1e-4)
    expected = 2 * scipy.stats.norm.sf(math.log(1.1) / (math.sqrt(2) * 0.03))
    assert ratio.p_value == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize(
    ("fields", "threshold", "expected"),
    [
        ({}, 0.0, "cannot tell"),
        ({"value": 1.05, "low": 1.01}, 0.0, "faster"),
        ({"value": 1.05, "low": 1.01}, 0.06, "cannot tell"),
        ({"value": 0.95, "high": 0.99}, 0.05, "slower"),
        ({"value": 0.96, "high": 0.99}, 0.05, "cannot tell"),
        ({"value": 0.5}, 0.0, "cannot tell"),
    ],
)
def test_a_verdict_needs_significance_and_size(fields, threshold, expected):
    ratio = dataclasses.replace(CENTRE, **fields)
    assert comparison.verdict(ratio, threshold=threshold) == expected


@pytest.mark.parametrize("threshold", [0.0, 0.05])
@pytest.mark.parametrize("value", [0.8, 0.94, 0.955, 0.99, 1.01, 1.045, 1.06, 1.25])
def test_times_get_the_verdict_of_their_rates(value, threshold):
    rates = comparison.Ratio(value, 0.995 * value, 1.005 * value, 0.001, 20)

    of_rates = comparison.verdict(rates, threshold=threshold)

    times = swapped(rates)
    assert comparison.verdict(times, threshold=threshold, higher_is_better=False) == of_rates


@pytest.mark.parametrize("side", [[], [0.0], [-1.0], [math.nan], [math.inf]])
def test_values_without_a_ratio_are_refused(side):
    for function in (comparison.paired_ratio, comparison.independent_ratio):
        with pytest.raises(ValueError, match="all must be positive"):
            function(side, side)


def test_impossible_demands_are_refused():
    with pytest.raises(ValueError, match="cannot pair 2 values with 1"):
        comparison.paired_ratio([1.0, 2.0], [1.0])
    with pytest.raises(ValueError, match=r"run_noise .* not -0\.1"):
        comparison.independent_ratio([1.0], [1.0], run_noise=-0.1)


def test_extreme_values_do_not_overflow():
    order = [3, 8, 1, 6, 4, 7, 2, 5]
    tiny, huge = [1e-300 * i for i in order], [1e300 * i for i in order]

    for ratio in (
        comparison.paired_ratio(tiny, huge),
        comparison.independent_ratio(tiny, huge, run_noise=0.03),
    ):
        assert math.isfinite(ratio.high)
        assert comparison.verdict(ratio) == "faster"
    assert comparison.verdict(comparison.paired_ratio(huge, tiny)) == "slower"
