"""The ratio of two sums against its formula and simulated noise."""

import numpy as np
import pytest

from mlpf_jax.stats import sum_ratios


def test_the_ratio_is_that_of_the_sums_and_not_a_mean_of_ratios():
    assert sum_ratios.sum_ratio([1.0, 9.0], [1.0, 1.0]) == sum_ratios.SumRatio(5.0, None, None)
    assert sum_ratios.sum_ratio([1.0, 9.0, 2.0], [1.0, 9.0, 2.0]).value == 1.0


def test_proportional_blocks_have_no_uncertainty():
    found = sum_ratios.sum_ratio([2.0, 4.0, 6.0, 8.0], [1.0, 2.0, 3.0, 4.0])

    assert (found.low, found.high) == (found.value, found.value) == (2.0, 2.0)


def test_the_interval_holds_the_true_ratio_as_often_as_it_says():
    draw = np.random.default_rng(3)
    joules = draw.uniform(50.0, 150.0, (150, 12))
    events = 0.4 * joules + draw.normal(0.0, 3.0, joules.shape)

    found = [
        sum_ratios.sum_ratio(e, j) for e, j in zip(events.tolist(), joules.tolist(), strict=True)
    ]

    known = [one for one in found if one.low is not None]
    assert len(known) > 0.95 * len(found)
    assert 0.93 <= np.mean([one.low <= 0.4 <= one.high for one in known]) <= 1.0


def test_blocks_that_all_depend_on_each_other_have_no_interval():
    found = sum_ratios.sum_ratio([1.0] * 15 + [2.0] * 15, [1.0] * 30)

    assert found == sum_ratios.SumRatio(1.5, None, None)


def test_nothing_over_nothing_is_refused():
    with pytest.raises(ValueError, match="must be positive"):
        sum_ratios.sum_ratio([1.0], [0.0])
