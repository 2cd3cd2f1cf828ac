"""Levels are found where they change."""

from mlpf_jax.measure import change_points


def test_two_changes_are_found_and_an_outlier_is_none():
    noise = [0.01 * ((7 * i) % 11 - 5) for i in range(45)]
    levels = [1.0] * 15 + [2.0] * 15 + [1.5] * 15
    values = [level + one for level, one in zip(levels, noise, strict=True)]
    values[5] = 30.0

    assert change_points.change_points(values) == [15, 30]
