"""Runs of two days are distinguished from alternate runs."""

import datetime
import itertools
import time

import pytest

from mlpf_jax.stats import turns


def spans(order, side, *, minutes=2, end=1):
    """When the runs of a side were taken, if all were taken in that order."""
    return [
        turns.Span(
            f"2026-01-01T{at // 60:02}:{at % 60:02}:00+00:00",
            f"2026-01-01T{to // 60:02}:{to % 60:02}:00Z",
        )
        for number, letter in enumerate(order)
        if letter == side
        for at, to in [(minutes * number, minutes * number + end)]
    ]


def both(order, **times):
    return spans(order, "A", **times), spans(order, "B", **times)


@pytest.mark.parametrize("order", ["ABBA", "ABABABAB", "BAABABBA", "AB"])
def test_neighbouring_runs_are_valid_pairs(order):
    assert turns.why_no_pairs(*both(order)) is None


@pytest.mark.parametrize("order", ["AABB", "A" * 10 + "B" * 10, "ABAABB", "ABBAAABB"])
def test_runs_that_do_not_alternate_are_not_valid_pairs(order):
    assert "not taken in turns" in str(turns.why_no_pairs(*both(order)))


def test_the_last_runs_of_the_longer_side_do_not_count():
    assert turns.why_no_pairs(*both("ABBAAAA")) is None


def test_overlapping_runs_are_not_valid_pairs():
    assert turns.why_no_pairs(*both("ABBA", end=3)) == "runs were taken at the same time"
    assert turns.why_no_pairs(*both("ABBA", end=2)) is None


def test_unknown_times_give_no_pairs():
    unknown = [turns.Span("yesterday", "today")]

    assert turns.why_no_pairs(unknown, unknown) == "the times of the runs are unknown"
    assert not turns.are_apart(unknown * 5, unknown * 5)


@pytest.fixture
def _machine_in_india():
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TZ", "Asia/Kolkata")
        time.tzset()
        yield
    time.tzset()


@pytest.mark.usefixtures("_machine_in_india")
@pytest.mark.parametrize("hours", [-8, 9, None])
def test_times_of_other_zones_are_converted_and_those_without_one_are_universal(hours):
    a, b = both("ABBA")
    zone = datetime.timezone(datetime.timedelta(hours=hours or 0))
    known = None if hours is None else zone

    def elsewhere(text):
        there = datetime.datetime.fromisoformat(text).astimezone(zone)
        return there.replace(tzinfo=known).isoformat()

    assert turns.why_no_pairs([turns.Span(*map(elsewhere, span)) for span in a], b) is None


@pytest.mark.parametrize(
    ("order", "apart"),
    [
        ("AAAABBBB", True),
        ("A" * 9 + "B" * 9, True),
        ("AAABBB", False),
        ("AB", False),
        ("ABBAABBA", False),
        ("AABBAABB", False),
        ("A" * 8 + "B" * 8 + "A", True),
    ],
)
def test_sides_that_do_not_alternate_are_detected(order, apart):
    assert turns.are_apart(*both(order)) is apart


@pytest.mark.parametrize(("num_a", "num_b"), [(4, 4), (3, 6), (5, 5)])
def test_the_chance_is_that_of_all_orders(num_a, num_b):
    orders = list(itertools.combinations(range(num_a + num_b), num_a))
    stretches = []
    for places in orders:
        sides = [number in places for number in range(num_a + num_b)]
        stretches.append(1 + sum(one != other for one, other in itertools.pairwise(sides)))

    for count in range(2, num_a + num_b + 1):
        share = sum(found <= count for found in stretches) / len(orders)
        assert turns._chance_of_so_few(num_a, num_b, count) == pytest.approx(share)
