"""Ratios and their intervals against SciPy and by simulation."""

import numpy as np
import pytest
import scipy.stats

from mlpf_jax.measure import comparison


@pytest.mark.parametrize("count", [1, 5, 6, 20, 60])
def test_the_paired_p_value_is_that_of_the_signed_rank_test(count):
    rng = np.random.default_rng(count)
    a = rng.lognormal(size=count)
    b = a * rng.lognormal(0.3, 0.5, size=count)

    ratio = comparison.paired_ratio(a.tolist(), b.tolist())

    expected = scipy.stats.wilcoxon(np.log(b / a), method="exact").pvalue
    assert ratio.p_value == pytest.approx(expected, rel=1e-6)
    assert (ratio.low <= 1 <= ratio.high) == (ratio.p_value > 0.05)


def test_both_ratios_of_equal_sides_are_one():
    values = [1.0, 1.1, 0.9, 1.05, 0.95, 1.02, 0.98]

    for ratio in (
        comparison.paired_ratio(values, values),
        comparison.independent_ratio(values, values, run_noise=0.03),
    ):
        assert ratio.value == 1.0
        assert ratio.p_value == pytest.approx(1.0)
        assert comparison.verdict(ratio) == "cannot tell"


def test_effects_shrink_with_the_number_of_pairs():
    effects = [comparison.smallest_detectable_effect(0.03, n) for n in (7, 8, 20, 60)]

    assert effects[0] == float("inf")
    assert effects[1] > effects[2] > effects[3] > 0
