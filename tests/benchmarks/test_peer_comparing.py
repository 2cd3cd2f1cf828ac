"""The comparison uses undisturbed steady samples, and gives intervals for ratios."""

import json

import pytest

from benchmarks.peers import comparing

BATCH, NUM_CORES = 4, 2


def sample(seconds, others=0.0, num_steps=1):
    return {
        "seconds": seconds,
        "num_steps": num_steps,
        "load": {"other_cores": others, "stolen_cores": 0.0},
    }


def run(name, training, inference=None, loss=100.0):
    """A driver's record; times in seconds, or samples as they are."""

    def phase(values, peak):
        samples = [value if isinstance(value, dict) else sample(value) for value in values]
        losses = {"total": loss}
        return {
            "first_call_s": 9.0,
            "first_losses": losses,
            "samples": samples,
            "peak_bytes": peak,
        }

    return {
        "name": name,
        "training": phase(training, 2 * 10**9),
        "inference": phase(inference or [1.0, 1.01, 0.99, 1.0], 10**9),
    }


STEADY = [4.0, 4.02, 3.98, 4.01, 3.99, 4.0]


def test_the_ratio_is_of_rates_and_above_one_when_ours_is_faster():
    runs = [run("jax", STEADY), run("pytorch-eager", [2 * s for s in STEADY])]

    result = comparing.compare(runs, BATCH, NUM_CORES)

    ratio = result.best_ratio("training")
    assert ratio.value == pytest.approx(2.0, rel=0.01)
    assert 1.9 < ratio.low < ratio.value < ratio.high < 2.1
    assert result.cells["training"]["jax"].events_per_s == pytest.approx(1.0, rel=0.01)
    assert result.best_ratio("inference").value == pytest.approx(1.0, rel=0.02)


def test_of_four_rounds_each_process_counts_once():
    ours, theirs = [4.0, 4.1, 4.05, 4.08], [5.0, 5.1, 4.9, 5.05]
    runs = [
        run(name, [seconds * s / 4 for s in STEADY])
        for name, of_rounds in (("jax", ours), ("pytorch-eager", theirs))
        for seconds in of_rounds
    ]

    result = comparing.compare(runs, BATCH, NUM_CORES)

    ratio = result.best_ratio("training")
    assert ratio.low == pytest.approx(min(theirs) / max(ours), rel=1e-3)
    assert ratio.high == pytest.approx(max(theirs) / min(ours), rel=1e-3)
    assert result.cells["training"]["jax"].round_rates == pytest.approx([4 / s for s in ours])


DRIFT = [1.0, 1.05, 1.1, 1.2, 1.3, 1.4]  # a machine that others slow down more and more


def drifting(name, seconds, drift=DRIFT):
    return [run(name, [factor * seconds * s / 4 for s in STEADY]) for factor in drift]


def test_of_six_rounds_a_drift_of_the_machine_cancels():
    result = comparing.compare(
        drifting("jax", 4.0) + drifting("pytorch-eager", 4.4), BATCH, NUM_CORES
    )

    ratio = result.best_ratio("training")
    assert ratio.value == pytest.approx(1.1)
    assert 1.09 < ratio.low <= ratio.value <= ratio.high < 1.11


def test_a_round_is_paired_with_itself_even_if_one_of_a_contender_is_missing():
    disturbed = run("jax", [sample(9.0, others=1.0)] * 3)
    ours = [disturbed, *drifting("jax", 4.0)]
    theirs = [run("pytorch-eager", STEADY), *drifting("pytorch-eager", 4.4)]

    result = comparing.compare(ours + theirs, BATCH, NUM_CORES)

    assert result.cells["training"]["jax"].round_rates[0] is None
    ratio = result.best_ratio("training")
    assert (ratio.value, ratio.count) == (pytest.approx(1.1), len(DRIFT))


def test_rounds_that_a_contender_did_not_live_to_see_are_left_out():
    result = comparing.compare(
        drifting("jax", 4.0) + drifting("pytorch-eager", 4.4, DRIFT[:4]), BATCH, NUM_CORES
    )

    ratio = result.best_ratio("training")
    assert ratio.count == 4
    assert ratio.low < 1 < ratio.high


def test_the_best_peer_is_the_fastest_of_each_phase():
    runs = [
        run("jax", STEADY),
        run("pytorch-eager", STEADY, inference=[0.5] * 4),
        run("tensorflow-xla", [s / 2 for s in STEADY]),
    ]

    result = comparing.compare(runs, BATCH, NUM_CORES)

    assert result.best_peer == {"training": "tensorflow-xla", "inference": "pytorch-eager"}
    assert result.best_ratio("inference").value < 1


def test_a_sample_that_others_disturbed_is_marked_and_not_averaged_in():
    disturbed = [*STEADY, sample(40.0, others=1.0)]
    runs = [run("jax", STEADY), run("pytorch-eager", disturbed)]

    cell = comparing.compare(runs, BATCH, NUM_CORES).cells["training"]["pytorch-eager"]

    assert (cell.num_disturbed, cell.is_disturbed, len(cell.rates)) == (1, False, 6)
    assert min(cell.rates) > 0.9


def test_where_hardly_anything_was_undisturbed_the_cell_says_so():
    runs = [run("jax", STEADY), run("pytorch-eager", [sample(4.0, others=1.0)] * 6)]

    cell = comparing.compare(runs, BATCH, NUM_CORES).cells["training"]["pytorch-eager"]

    assert (cell.num_disturbed, cell.is_disturbed, len(cell.rates)) == (6, True, 6)


def test_samples_before_the_steady_state_are_left_out_by_the_benchmarks_rule():
    runs = [run("jax", [12.0, *STEADY]), run("pytorch-eager", STEADY)]

    cell = comparing.compare(runs, BATCH, NUM_CORES).cells["training"]["jax"]

    assert (cell.num_warm_up, len(cell.rates)) == (1, 6)


def test_rounds_are_taken_together():
    runs = [run("jax", STEADY), run("pytorch-eager", STEADY)] * 2

    cell = comparing.compare(runs, BATCH, NUM_CORES).cells["training"]["jax"]

    assert len(cell.rates) == 12
    assert cell.first_call_s == (9.0, 9.0)


def test_contenders_that_compute_different_losses_are_not_compared():
    runs = [run("jax", STEADY), run("pytorch-eager", STEADY, loss=101.0)]

    with pytest.raises(ValueError, match="pytorch-eager does not compute the same"):
        comparing.compare(runs, BATCH, NUM_CORES)


def test_ours_without_the_empty_bins_is_compared_and_is_no_peer():
    runs = [
        run("jax", STEADY),
        run("jax-tight", [s / 4 for s in STEADY]),
        run("tensorflow-xla", [s / 2 for s in STEADY]),
    ]

    result = comparing.compare(runs, BATCH, NUM_CORES)

    assert result.best_peer["training"] == "tensorflow-xla"
    assert result.ratios["training"]["jax-tight"].value == pytest.approx(0.25, rel=0.01)
    cells = comparing.document(result)["contenders"]["training"]
    assert cells["jax-tight"]["ratio_of_ours"]["value"] == pytest.approx(0.25, rel=0.01)
    assert "ratio_of_ours" not in cells["jax"]


@pytest.mark.parametrize("names", [["jax"], ["jax", "jax-tight"], ["pytorch-eager"], []])
def test_without_ours_or_without_a_peer_there_is_nothing_to_compare(names):
    with pytest.raises(ValueError, match="nothing to compare"):
        comparing.compare([run(name, STEADY) for name in names], BATCH, NUM_CORES)


def test_the_document_is_json_even_where_too_few_samples_leave_an_interval_open():
    runs = [run("jax", STEADY[:3], [1.0] * 3), run("pytorch-eager", STEADY[:3], [1.0] * 3)]

    document = comparing.document(comparing.compare(runs, BATCH, NUM_CORES))

    text = json.dumps(document, allow_nan=False)
    assert json.loads(text)["ratio_to_best_peer_interval"]["training"] == [None, None]
    assert set(document["ratio_to_best_peer"]) == {"training", "inference"}
