"""Power laws are recovered from known costs."""

import numpy as np
import pytest

from mlpf_jax.stats import power_laws


def test_a_power_law_is_found_and_its_interval_contains_the_exponent():
    rng = np.random.default_rng(1)
    held = 0
    for _ in range(200):
        costs = {n: [3 * n**1.5 * np.exp(rng.normal(0, 0.05))] for n in (1, 2, 4, 8, 16)}
        law = power_laws.fit(costs)
        held += law.low <= 1.5 <= law.high
        assert law.exponent == pytest.approx(1.5, abs=0.2)

    assert 180 <= held <= 197


def test_an_exact_law_has_a_zero_interval_and_no_deviations():
    runs = {n: [1.0 * n, 1.0 * n, 8.0 * n] for n in (100, 1, 10)}  # geometric means of 2 n
    law = power_laws.fit(runs)

    assert (law.exponent, law.low, law.high) == pytest.approx((1, 1, 1))
    assert law.cost(50) == pytest.approx(100)
    assert max(abs(off) for off in law.off.values()) < 1e-12


@pytest.mark.parametrize("cost", [1.0, 1e9 / 3, 1_001_234_567])
def test_a_cost_that_never_changes_is_known_exactly(cost):
    law = power_laws.fit({n: [cost] for n in (1, 2, 4, 8)})

    assert (law.exponent, law.low, law.high) == pytest.approx((0, 0, 0))


def test_a_cliff_is_visible_in_local_exponents():
    found = power_laws.local_exponents({4: [16.0], 1: [1.0], 2: [1.0, 1.0, 8.0]})

    assert found == pytest.approx({2: 1.0, 4: 3.0})


@pytest.mark.parametrize(
    "costs",
    [{1: [1.0], 2: [2.0]}, *({1: [1.0], 2: two, 3: [1.0]} for two in ([0.0], [np.inf], []))],
)
def test_costs_that_determine_no_power_law_are_refused(costs):
    with pytest.raises(ValueError, match=r"three sizes|must be positive"):
        power_laws.fit(costs)
