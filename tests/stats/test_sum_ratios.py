"""The ratio of two sums against its formula and simulated noise."""

import numpy as np
import pytest
import scipy.stats

from mlpf_jax.stats import sum_ratios
from tests.stats import noise


def test_the_ratio_is_that_of_the_sums_and_not_a_mean_of_ratios():
    assert sum_ratios.sum_ratio([1.0, 9.0], [1.0, 1.0]) == sum_ratios.SumRatio(5.0, None, None)
    assert sum_ratios.sum_ratio([1.0, 9.0, 2.0], [1.0, 9.0, 2.0]).value == 1.0


def test_proportional_blocks_have_no_uncertainty():
    found = sum_ratios.sum_ratio([2.0, 4.0, 6.0, 8.0], [1.0, 2.0, 3.0, 4.0])

    assert (found.low, found.high) == (found.value, found.value) == (2.0, 2.0)


@pytest.mark.parametrize("tops", [[3.0, 5.0, 4.0], [3.0, 5.0, 2.0, 6.0, 1.0, 4.0]])
@pytest.mark.parametrize("bottom", [0.1, 40.0])
def test_with_equal_denominators_the_interval_is_students_of_a_mean(tops, bottom, monkeypatch):
    monkeypatch.setattr(sum_ratios, "_CAUTION", 0.0)
    found = sum_ratios.sum_ratio(tops, [bottom] * len(tops))

    expected = scipy.stats.ttest_1samp(np.divide(tops, bottom), 0.0).confidence_interval()
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high))


@pytest.mark.parametrize(
    ("num_blocks", "correlation", "least", "most"),
    [
        *((number, 0.0, 0.95, 1.0) for number in (3, 10)),
        (60, 0.0, 0.94, 0.99),
        *((number, 0.5, 0.92, 1.0) for number in (3, 10, 30)),
        (10, 0.8, 0.84, 1.0),
        *((number, 0.8, 0.91, 1.0) for number in (20, 60)),
    ],
)
def test_the_interval_holds_the_true_ratio_as_often_as_it_says(
    num_blocks, correlation, least, most
):
    draw = np.random.default_rng(3)
    joules = 100.0 + 3.0 * noise.first_order(draw, (600, num_blocks), correlation)
    events = [40.0] * num_blocks

    found = [sum_ratios.sum_ratio(events, series) for series in joules.tolist()]

    held = [one.low is not None and one.low <= 0.4 <= (one.high or 0.0) for one in found]
    assert least <= np.mean(held) <= most


def test_blocks_that_all_depend_on_each_other_tell_next_to_nothing():
    found = sum_ratios.sum_ratio([1.0] * 15 + [2.0] * 15, [1.0] * 30)

    assert found.low is not None
    assert found.low < 0.0
    assert found.value == 1.5


def test_nothing_over_nothing_is_refused():
    with pytest.raises(ValueError, match="must be positive"):
        sum_ratios.sum_ratio([1.0], [0.0])
