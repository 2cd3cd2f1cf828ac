"""Runs alternate in blocks of four, until a decision or the end of the time."""

import random

import pytest

from mlpf_jax.regress import costs, pairing, sources
from mlpf_jax.report import reader
from tests import recorded

REPORT = reader.read(recorded.OLDEST_REPORT)
RUN = costs.from_report(REPORT)


def gather(*, is_enough=lambda pairs: False, end_s=1e9, most_pairs=100, runs=100, run_s=1.0):
    """Returns what was gathered, and which side each run was of."""
    taken, now = "", 0.0

    class Side(sources.Stored):
        def take(self):
            nonlocal taken, now
            taken, now = taken + self.label, now + run_s
            return super().take()

    gathered = pairing.gather(
        Side("A", REPORT, [RUN] * runs),
        Side("B", REPORT, [RUN] * runs),
        is_enough,
        pairing.Budget(end_s, most_pairs),
        clock=lambda: now,
        coins=random.Random(1),
        tell=lambda _: None,
    )
    return gathered, taken


def test_every_four_runs_are_abba_or_baab_and_both_occur():
    _, taken = gather(most_pairs=20)

    blocks = [taken[i : i + 4] for i in range(0, len(taken), 4)]
    assert set(blocks) == {"ABBA", "BAAB"}
    assert len(taken) == 40


def test_it_asks_after_every_block_and_stops_when_it_is_enough():
    asked = []

    def is_enough(pairs):
        asked.append(len(pairs))
        return len(pairs) >= 6

    gathered, _ = gather(is_enough=is_enough)

    assert asked == [2, 4, 6]
    assert gathered.stopped == "decided"
    assert len(gathered.pairs) == 6


@pytest.mark.parametrize(("end_s", "num_pairs"), [(0.5, 2), (7.0, 2), (8.0, 4), (12.5, 6)])
def test_no_block_is_begun_that_would_end_too_late(end_s, num_pairs):
    gathered, _ = gather(end_s=end_s)

    assert gathered.stopped == "out of time"
    assert len(gathered.pairs) == num_pairs


@pytest.mark.parametrize(("most_pairs", "runs", "num_pairs"), [(3, 100, 3), (100, 5, 5)])
def test_there_are_no_more_pairs_than_wanted_and_than_runs(most_pairs, runs, num_pairs):
    gathered, _ = gather(most_pairs=most_pairs, runs=runs)

    assert gathered.stopped == "out of pairs"
    assert len(gathered.pairs) == num_pairs


def test_the_pairs_of_a_budget_follow_from_the_blocks_so_far():
    """The first block is longer, because its runs compile."""
    gathered = pairing.Gathered((), "decided", (100.0, 60.0, 40.0, 50.0))

    assert [gathered.pairs_in(budget_s) for budget_s in (10.0, 600.0)] == [2, 22]
