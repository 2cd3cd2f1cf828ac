"""Changes of level are found, with few false alarms."""

import itertools
import math

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from mlpf_jax.stats import change_points
from tests.stats import noise

KINDS = [*noise.INDEPENDENT, "rounded"]


def levels(*parts, sigma=0.01, seed=0):
    """Normal noise around levels, each a pair of level and number of values."""
    level = np.repeat([part[0] for part in parts], [part[1] for part in parts])
    return (level + sigma * np.random.default_rng(seed).standard_normal(level.size)).tolist()


def false_alarms(kind, num_series, count):
    """Rounded values have many ties."""
    is_rounded = kind == "rounded"
    rng = np.random.default_rng(21)
    logs = noise.logs("normal" if is_rounded else kind, rng, (num_series, count))
    series = np.round(logs / 0.05) if is_rounded else np.exp(logs)
    return np.mean([bool(change_points.change_points(values)) for values in series.tolist()])


def test_two_changes_are_found_and_an_outlier_is_not_a_change():
    values = levels((1.0, 15), (2.0, 15), (1.5, 15))
    values[5] = 30.0

    assert change_points.change_points(values) == [15, 30]


def test_a_temporary_change_of_level_is_found():
    values = levels((1.0, 20), (1.2, 8), (1.0, 22), seed=1)

    assert change_points.change_points(values) == [20, 28]


def test_the_last_five_of_a_long_history_are_enough_and_two_are_not():
    assert change_points.change_points(levels((1.0, 40), (0.9, 5))) == [40]
    assert change_points.change_points(levels((1.0, 40), (0.9, 2))) == []


def test_exact_values_change_their_level_where_they_change():
    assert change_points.change_points([100.0] * 9 + [120.0] * 9) == [9]
    assert change_points.change_points([100.0] * 30) == []


@pytest.mark.parametrize("values", [[], [1.0], [1.0, 2.0], [1.0, 1.0, 9.0, 9.0, 9.0]])
def test_a_short_history_has_no_levels(values):
    assert change_points.change_points(values) == []


@settings(max_examples=15)
@given(st.lists(st.sampled_from([1.0, 1.5, 1.75, 3.0]), min_size=10, max_size=25))
def test_change_points_do_not_depend_on_the_unit_and_lie_inside(values):
    found = change_points.change_points(values)

    assert change_points.change_points([256 * value for value in values]) == found
    assert all(0 < index < len(values) for index in found)
    assert found == sorted(set(found))


def test_a_step_is_placed_by_values_and_not_by_ranks():
    """The first value of the higher level is its lowest, so its rank fits either level."""
    values = [1.0, 1.02, 1.01, 1.03, 0.99, 1.0, 1.02, 1.01, 1.25, 1.31, 1.3, 1.29, 1.32, 1.3, 1.28]

    assert change_points.change_points(values) == [8]


def test_the_reversed_series_has_the_same_change_points():
    values = levels((1.0, 12), (1.3, 20), (0.8, 15))

    assert change_points.change_points(values) == [12, 32]
    assert change_points.change_points(values[::-1]) == [15, 35]


@pytest.mark.parametrize("seed", [20, 79, 559, 1443])
def test_neighbouring_levels_differ_significantly(seed):
    """Where the search alone finds a level that does not."""
    rng = np.random.default_rng(seed)
    values = np.repeat(rng.choice([1.0, 1.01, 1.02], 4), rng.integers(2, 9, 4))
    values += 0.01 * rng.standard_normal(values.size)

    ends = [0, *change_points.change_points(values.tolist()), values.size]

    levels_found = [values[i:j] for i, j in itertools.pairwise(ends)]
    for before, after in itertools.pairwise(levels_found):
        assert scipy.stats.mannwhitneyu(before, after).pvalue <= 0.01


@pytest.mark.parametrize("kind", KINDS)
def test_noise_rarely_has_change_points(kind):
    assert false_alarms(kind, 120, 30) <= 0.03


@pytest.mark.slow
@pytest.mark.parametrize("count", [12, 30, 60])
@pytest.mark.parametrize("kind", KINDS)
def test_the_false_alarm_rate_of_change_points_is_as_stated(kind, count):
    assert false_alarms(kind, 1000, count) <= 0.01 + 2 * math.sqrt(0.01 / 1000)


def test_a_higher_rate_finds_smaller_steps():
    values = levels((1.0, 10), (1.02, 10), sigma=0.015, seed=2)

    assert change_points.change_points(values, false_alarm=0.0005) == []
    assert len(change_points.change_points(values, false_alarm=0.1)) == 1


@pytest.mark.parametrize(("values", "rate"), [([math.nan], 0.01), ([1.0], 0.0), ([1.0], 1.0)])
def test_invalid_values_and_rates_are_refused(values, rate):
    with pytest.raises(ValueError, match="values must be finite, and the rate"):
        change_points.change_points(values, false_alarm=rate)
