"""A comparison says how its sides were compared, and how much others disturbed them."""

import pytest

from mlpf_jax.measure import load, slot
from mlpf_jax.regress import costs, pairing, resolution
from mlpf_jax.report import reader
from mlpf_jax.sides import driver
from tests import recorded

RUN = costs.from_report(reader.read(recorded.OLDEST_REPORT))


def pair(busy):
    """A pair in turns, while others use this share of the cores; None: it is not known."""
    others = None if busy is None else load.Load(busy * slot.num_cores(), 0.0)
    windows = {side: (driver.Window(0.5, others),) * 4 for side in "AB"}
    return pairing.Pair(RUN, RUN, {"training": driver.Turns(steps=1, windows=windows)})


@pytest.mark.parametrize(
    ("busy", "on_cpu", "words"),
    [
        (0.2, True, "ran 8 windows in turns. Other programs disturbed 100 % of them."),
        (0.2, False, "ran 8 windows in turns. Other programs disturbed 0 % of them."),
        (None, True, "ran 8 windows in turns. The load by other programs is not known."),
    ],
)
def test_windows_are_disturbed_by_the_limits_of_an_unreliable_run(busy, on_cpu, words):
    one = pair(busy)
    kept = [{name: resolution.windows(turn, on_cpu=on_cpu) for name, turn in one.turns.items()}]

    told = resolution.note(pairing.Gathered((one,), "decided"), kept)

    assert told == f"Both sides were alive together and {words}"


def test_whole_runs_after_windows_in_turns_are_told_apart():
    gathered = pairing.Gathered((pair(None), pairing.Pair(RUN, RUN)), "decided", (), "no memory")

    told = resolution.note(gathered, [])

    assert told == "Whole runs were compared from pair 2 on, not windows in turns: no memory."
