"""A comparison says how its sides were compared, and how much others disturbed them."""

import pytest

from mlpf_jax.measure import load, slot
from mlpf_jax.regress import costs, judging, pairing, resolution
from mlpf_jax.report import reader
from mlpf_jax.sides import driver
from mlpf_jax.stats import sequential
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


def test_the_resolution_is_that_of_the_pairs_that_ten_minutes_hold():
    limits = sequential.Limits()
    pairs = tuple(
        pairing.Pair(RUN, RUN, {"training": driver.Turns(steps=1, windows=windows)})
        for slower in (1.0, 1.01, 0.98, 1.02)
        for windows in [
            {"A": (driver.Window(0.5, None),), "B": (driver.Window(0.5 * slower, None),)}
        ]
    )
    judgements = judging.judge(pairs, judging.Rules(limits=limits), {})
    gathered = pairing.Gathered(pairs, "out of time", (200.0, 100.0))

    found = resolution.found(gathered, judgements, limits)

    assert found["pairs_in_ten_minutes"] == 10  # in blocks of two: 200 s and four times 100 s
    (training,) = (one for one in judgements if one.name == "training")
    assert found["noise"] == {"training": training.noise}
    assert found["smallest"] == {"training": sequential.smallest_found(training.noise, 10, limits)}
    few = pairing.Gathered(pairs[:3], "out of time", (200.0, 100.0))
    assert resolution.found(few, judgements, limits) == {}


def test_the_line_has_the_resolution_and_the_noise_of_every_phase():
    line = resolution.line(
        {
            "pairs_in_ten_minutes": 10,
            "noise": {"training": 0.012, "inference": 0.2},
            "smallest": {"training": 0.034, "inference": None},
        }
    )

    assert line.endswith(
        "in 10 pairs of processes: training 3.4 % (noise 1.2 %), inference none (noise 20.0 %)."
    )
    assert resolution.line({}) == ""
