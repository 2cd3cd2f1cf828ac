"""Where two runs part is told by step, by name, and in units in the last place."""

import dataclasses

import numpy as np
import pytest

from mlpf_jax.verify import parting

ONE = np.float32(1)
NEXT = float(np.nextafter(ONE, np.float32(2)))


def course(**changes):
    found = parting.Course(
        losses=[{"cls": 1.0, "total": 2.0}, {"cls": 1.0, "total": 2.0}],
        batches=["a", "b"],
        accuracies=[0.5],
        weights={"w": np.ones(3, np.float32), "b": np.zeros(2, np.float32)},
    )
    return dataclasses.replace(found, **changes)


@pytest.mark.parametrize(
    ("a", "b", "expected"),
    [
        (1.0, NEXT, 1),
        (-0.0, 0.0, 0),
        (-1e-45, 1e-45, 2),
        (np.nan, -np.nan, 0),
        (np.inf, np.float32(np.finfo(np.float32).max), 1),
    ],
)
def test_ulps_count_the_numbers_in_between(a, b, expected):
    assert parting.ulps(np.float32([a, 0]), np.float32([b, 0])) == expected


def test_the_sign_of_zero_is_a_difference():
    other = course(weights={"w": np.ones(3, np.float32), "b": np.float32([-0.0, 0])})

    assert not parting.compare(course(), other).is_identical


def test_the_same_run_is_bit_identical():
    found = parting.compare(course(), course())

    assert found.is_identical
    assert str(found) == "bit-identical"


def test_the_first_step_and_the_worst_tensor_are_told():
    other = course(
        losses=[{"cls": 1.0, "total": 2.0}, {"cls": NEXT, "total": 2.0}],
        weights={"w": np.ones(3, np.float32), "b": np.float32([0, 1e-45])},
        accuracies=[0.25],
    )

    found = parting.compare(course(), other)

    assert str(found) == (
        "parts at step 2 in loss cls by 1 ulps; 1 weights differ, most b by 1 ulps"
    )
    assert (found.accuracy, found.last_step_relative) == (0.25, NEXT - 1)


def test_other_events_are_told():
    assert "other events from step 2" in str(parting.compare(course(), course(batches=["a", "c"])))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"losses": [{"cls": 1.0, "total": 2.0}]}, "2 steps there, 1 here"),
        ({"weights": {"w": np.ones(4, np.float32)}}, "of another network"),
    ],
)
def test_what_cannot_be_compared_is_refused(change, message):
    with pytest.raises(ValueError, match=message):
        parting.compare(course(), course(**change))
