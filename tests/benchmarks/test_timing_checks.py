"""The timing checks pass for correct timing, and fail for wrong timing."""

import itertools
import time

import pytest

from benchmarks.timing_checks import checks


def test_the_clock_of_this_machine_is_fine_enough():
    check = checks.resolution(3)

    assert check.holds
    assert all(0 < one < 1e-4 for one in check.seconds)


def test_a_coarse_clock_is_found_out():
    ticks = itertools.count()
    check = checks.resolution(3, clock=lambda: next(ticks) // 100 * 10_000_000)

    assert not check.holds
    assert check.seconds == pytest.approx((0.01,) * 3)


def test_work_of_known_length_never_seems_shorter():
    check = checks.sleeping_step(4)

    assert min(check.seconds) >= checks.KNOWN_S


def test_work_that_takes_longer_than_it_says_is_found_out():
    check = checks._known("late", lambda seconds: time.sleep(1.5 * seconds), 4)

    assert not check.holds


def test_samples_are_dealt_in_turns():
    a, b = checks._dealt(list(range(8)))

    assert a == [0, 3, 4, 7]
    assert b == [1, 2, 5, 6]


def test_the_table_names_failed_checks():
    check = checks.Check(name="x", rule="y", seconds=(1.0, 1.0, 1.0, 1.1), found="z", holds=False)

    assert checks.text([check]).splitlines()[-1] == "| x | y | z | 4 | 0 % | NO |"
