"""A set of contenders counts once, by the median of neighbouring windows."""

import json

import pytest

from benchmarks.peers import comparing
from mlpf_jax.measure import load
from mlpf_jax.sides import driver

BATCH, NUM_CORES = 4, 2
CALM = load.Load(0.0, 0.0)
DRIFT = [1.0, 1.05, 1.1, 1.2, 1.3, 1.4]  # a machine that others slow down more and more


def turns(meanwhile=CALM, **seconds):
    """Three windows of two steps of each contender, of so many seconds per step."""
    windows = {
        name.replace("_", "-"): tuple(driver.Window(2 * s * x, meanwhile) for x in (0.9, 1, 1.2))
        for name, s in seconds.items()
    }
    return driver.Turns(steps=2, windows=windows)


def alive(meanwhile=CALM, **seconds):
    """A group of contenders, in both phases."""
    return dict.fromkeys(comparing.PHASES, turns(meanwhile, **seconds))


def starts(*names, loss=100.0):
    phase = {"first_call_s": 9.0, "first_losses": {"total": loss}, "peak_bytes": 10**9}
    return [{"name": name, "training": phase, "inference": phase} for name in names]


def compare(sets, extra=()):
    names = {name: None for one in sets for group in one for name in group["training"].windows}
    return comparing.compare([*starts(*names), *extra], sets, BATCH, NUM_CORES)


def test_the_ratio_is_of_rates_above_one_when_ours_is_faster_and_a_drift_cancels():
    sets = [[alive(jax=4.0 * x, pytorch_eager=4.4 * x)] for x in DRIFT]

    result = compare(sets)

    ratio = result.best_ratio("training")
    assert (ratio.value, ratio.count) == (pytest.approx(1.1), 6)
    assert 1.09 < ratio.low <= ratio.high < 1.11
    assert result.cells["training"]["jax"].set_rates[0] == pytest.approx(1.0)


def test_the_best_peer_is_the_fastest_of_each_phase():
    group = {
        "training": turns(jax=1.0, pytorch_eager=2.0, tensorflow_xla=1.5),
        "inference": turns(jax=1.0, pytorch_eager=0.5, tensorflow_xla=1.5),
    }

    result = compare([[group]])

    assert result.best_peer == {"training": "tensorflow-xla", "inference": "pytorch-eager"}
    assert result.best_ratio("inference").value == pytest.approx(0.5)


def test_a_peer_is_compared_with_ours_of_its_own_group():
    groups = [alive(jax=1.0, pytorch_eager=2.0), alive(jax=3.0, tensorflow_xla=3.3)]

    result = compare([groups])

    assert result.ratios["training"]["pytorch-eager"].value == pytest.approx(2.0)
    assert result.ratios["training"]["tensorflow-xla"].value == pytest.approx(1.1)
    assert result.cells["training"]["jax"].num_windows == 6


def test_windows_that_others_disturbed_are_counted():
    result = compare([[alive(load.Load(1.0, 0.0), jax=1.0, pytorch_eager=2.0)]])

    cell = result.cells["training"]["jax"]
    assert (cell.num_disturbed, cell.num_windows) == (3, 3)


@pytest.mark.parametrize(
    ("num_sets", "ours", "expected"),
    [
        (5, [1.0], False),
        (6, [1.0], True),
        (7, [1.0], False),
        (8, [1.0], True),
        (6, [1.0, 1.0, 1.2], False),
        (8, [1.0, 1.0, 1.2], False),
    ],
)
def test_the_signs_are_looked_at_after_fixed_numbers_of_sets(num_sets, ours, expected):
    """At other numbers a look would raise the error rate."""
    sets = [[alive(jax=ours[i % len(ours)], pytorch_eager=1.1)] for i in range(num_sets)]

    assert comparing.is_enough(sets) == expected


def test_all_looks_together_keep_the_level():
    assert sum(comparing.LOOKS.values()) < 0.05


def test_a_contender_that_failed_in_between_is_left_out():
    sets = [[alive(jax=1.0, pytorch_eager=2.0, tensorflow_xla=2.0)]]
    sets.append([alive(jax=1.0, pytorch_eager=2.0)])

    assert list(compare(sets).ratios["training"]) == ["pytorch-eager"]


def test_contenders_that_compute_different_losses_are_not_compared():
    sets = [[alive(jax=1.0, pytorch_eager=2.0)]]

    with pytest.raises(ValueError, match="pytorch-eager does not compute the same"):
        compare(sets, starts("pytorch-eager", loss=101.0))


def test_ours_without_the_empty_bins_is_compared_and_is_no_peer():
    result = compare([[alive(jax=4.0, jax_tight=1.0, tensorflow_xla=2.0)]])

    assert result.best_peer["training"] == "tensorflow-xla"
    cells = comparing.document(result)["contenders"]["training"]
    assert cells["jax-tight"]["ratio_of_ours"]["value"] == pytest.approx(0.25)
    assert "ratio_of_ours" not in cells["jax"]


@pytest.mark.parametrize("names", [["jax"], ["jax", "jax_tight"], []])
def test_without_a_peer_there_is_nothing_to_compare(names):
    sets = [[alive(**dict.fromkeys(names, 1.0))]] if names else []

    with pytest.raises(ValueError, match="nothing to compare"):
        compare(sets)


def test_the_document_is_json_even_where_too_few_sets_leave_an_interval_open():
    document = comparing.document(compare([[alive(jax=1.0, pytorch_eager=2.0)]] * 5))

    text = json.dumps(document, allow_nan=False)
    assert json.loads(text)["ratio_to_best_peer_interval"]["training"] == [None, None]
    assert set(document["ratio_to_best_peer"]) == {"training", "inference"}
