"""Null distributions against counting all cases, and where they become normal."""

import dataclasses
import itertools

import numpy as np
import pytest

from mlpf_jax.stats import rank_tests


def shares(statistics):
    """The share of cases up to every value."""
    cases = np.array(list(statistics))
    return [np.mean(cases <= value) for value in range(cases.max() + 1)]


@pytest.mark.parametrize("num_pairs", [1, 4, 7])
def test_the_signed_rank_sum_is_that_of_all_signs(num_pairs):
    signs = itertools.product([0, 1], repeat=num_pairs)
    expected = shares(np.dot(sign, np.arange(1, num_pairs + 1)) for sign in signs)

    assert rank_tests.signed_rank(num_pairs).cumulative == pytest.approx(expected)


@pytest.mark.parametrize(("num_a", "num_b"), [(1, 1), (2, 5), (4, 3)])
def test_the_rank_sum_is_that_of_all_orders(num_a, num_b):
    places = itertools.combinations(range(num_a + num_b), num_b)
    expected = shares(sum(place) - num_b * (num_b - 1) // 2 for place in places)

    assert rank_tests.rank_sum(num_a, num_b).cumulative == pytest.approx(expected)


@pytest.mark.parametrize(
    "exact", [rank_tests.signed_rank(100), rank_tests.rank_sum(30, 30)], ids=["signed", "sum"]
)
def test_the_largest_exact_distribution_is_nearly_normal(exact):
    normal = dataclasses.replace(exact, cumulative=None)

    for level in (0.005, 0.025):
        at = float(exact.most_rejected(level))
        assert exact.lower_tail(at) < normal.lower_tail(at) < 1.1 * exact.lower_tail(at)
        assert 0 <= at - normal.most_rejected(level) < 0.05 * exact.deviation


def test_a_smaller_level_rejects_less():
    null = rank_tests.rank_sum(12, 12)
    wider = dataclasses.replace(null, wider=1.5)
    unsure = dataclasses.replace(wider, freedom=8.0)

    rejected = [one.most_rejected(0.025) for one in (null, wider, unsure)]
    assert rejected == sorted(set(rejected), reverse=True)
    assert all(one.lower_tail(one.mean) >= 0.5 for one in (null, wider, unsure))
    assert rank_tests.signed_rank(5).most_rejected(0.025) == -1
    assert rank_tests.signed_rank(6).most_rejected(0.025) == 0
