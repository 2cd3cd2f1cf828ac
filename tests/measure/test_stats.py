"""Summaries against NumPy and simulated coverage; the steady state by its rule."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlpf_jax.measure import stats

positive = st.floats(0.1, 10.0)


@settings(max_examples=20, deadline=None)
@given(st.lists(positive, min_size=1, max_size=12))
def test_summary_agrees_with_numpy_and_its_interval_holds_the_median(values):
    summary = stats.summarize(values)

    assert summary.count == len(values)
    assert summary.median == pytest.approx(np.median(values))
    assert summary.min <= summary.interval_low <= summary.median + 1e-12
    assert summary.median - 1e-12 <= summary.interval_high <= summary.max
    deviations = np.abs(np.asarray(values) - np.median(values))
    assert summary.spread == pytest.approx(1.4826 * np.median(deviations))


def test_the_interval_covers_the_true_median_as_often_as_it_says():
    rng = np.random.default_rng(1)
    covered = 0
    for _ in range(200):
        summary = stats.summarize(rng.lognormal(size=20).tolist())
        covered += summary.interval_low <= 1.0 <= summary.interval_high
    assert covered / 200 > 0.90


@pytest.mark.parametrize("values", [[], [math.nan], [1.0, math.inf]])
def test_what_cannot_be_summarised_is_refused(values):
    with pytest.raises(ValueError, match="finite values, at least one"):
        stats.summarize(values)


def test_the_same_values_give_the_same_interval():
    values = [1.0, 1.2, 0.9, 1.1, 1.05]
    assert stats.summarize(values) == stats.summarize(values)


@pytest.mark.parametrize(
    ("times", "expected"),
    [
        ([1.0, 1.01, 0.99, 1.0, 1.02, 0.98], 0),
        ([3.0, 1.0, 1.01, 0.99, 1.0, 1.0], 1),
        ([3.0, 3.1, 3.0, 1.0, 1.01, 0.99, 1.0, 1.0], 3),  # a heap that grows for three steps
        ([1.0, 1.0, 3.0, 1.0, 1.0, 1.0], 0),  # one slow sample in the middle is not warming up
        ([1.0, 1.01, 1.5, 1.52, 1.5, 1.51], 0),  # a machine that slows down is not, either
        ([1.0], 0),
        ([2.0, 1.0], 0),
        ([2.0, 1.0, 1.0], 0),
    ],
)
def test_the_steady_state_begins_by_the_rule(times, expected):
    assert stats.steady_start(times) == expected


@settings(max_examples=100, deadline=None)
@given(st.lists(positive, max_size=30))
def test_at_most_half_is_cut_and_three_are_left(times):
    cut = stats.steady_start(times)
    assert cut <= len(times) // 2
    assert cut == 0 or len(times) - cut >= 3
