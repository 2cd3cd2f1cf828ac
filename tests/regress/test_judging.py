"""Every measure is judged by the pairs that have it, and what must not be compared is blocked."""

import dataclasses
import random

import pytest

from mlpf_jax.regress import costs, judging, pairing
from mlpf_jax.sides import driver
from mlpf_jax.stats import sequential
from tests.report import documents

RULES = judging.Rules(limits=sequential.Limits(), same_compiler=True)


def run(training, xla_s=4.0, lower_s=1.0, program="0"):
    return costs.RunMeasures(
        seconds={"training": training} | ({"compile": lower_s + xla_s} if xla_s else {}),
        lower_s=lower_s,
        memory_bytes={},
        peak_process_bytes=None,
        accuracy=None,
        loss=None,
        digests={"losses": "", "weights": "", "program.training": program},
        machine_class="x",
        started_at="",
        finished_at="",
        doubts=(),
    )


def training(pairs, rules=RULES):
    return next(one for one in judging.judge(pairs, rules, {}) if one.name == "training")


def in_turns(slowdown, machine):
    """A pair whose windows all have this slowdown; the machine's speed differs between windows."""
    windows = {
        side: tuple(driver.Window(factor * speed, None) for speed in machine)
        for side, factor in (("A", 1.0), ("B", slowdown))
    }
    return pairing.Pair(run(1.0), run(3.0), {"training": driver.Turns(steps=1, windows=windows)})


def test_windows_in_turns_are_judged_by_the_ratios_of_neighbours():
    rng = random.Random(3)
    pairs = [in_turns(rng.uniform(1.07, 1.09), [1.0, 3.0, 2.0]) for _ in range(10)]
    noisy = dataclasses.replace(RULES, recorded_noise={"training": 1.0, "compile": 0.01})

    found = training(pairs, noisy)

    assert found.decision.verdict == "regression"
    assert found.ratio.value == pytest.approx(1.08, abs=0.01)
    assert found.recorded_noise == 0, "a baseline's noise is that of whole runs"


def test_whole_runs_among_windows_in_turns_must_exceed_the_recorded_noise():
    pairs = [in_turns(1.2 + number / 1000, [1.0, 2.0]) for number in range(9)]
    pairs.append(pairing.Pair(run(1.0), run(1.2)))
    noisy = dataclasses.replace(RULES, recorded_noise={"training": 1.0})

    assert training(pairs).decision.verdict == "regression"
    assert training(pairs, noisy).decision.verdict == "undecided"


def test_a_machine_too_noisy_for_all_pairs_that_are_tested_is_told_as_that():
    pairs = [pairing.Pair(run(1.0), run(1.0 + 0.2 * (-1) ** number)) for number in range(28)]

    assert training(pairs[:27]).reason == "not enough pairs"
    assert training(pairs).reason == "too noisy: more pairs would not be tested"


@pytest.mark.parametrize(
    ("a", "b", "expected"),
    [
        ([4.0, 4.4], [4.3, 4.1], True),
        ([4.0, 4.4], [4.5, 4.6], True),  # by less than the runs of A differ
        ([4.0, 4.1], [4.6, 4.7], False),
        ([4.0, 4.1], [4.6, 5.2], True),  # by less than those of B differ
        ([4.6, 4.7], [4.0, 4.1], True),  # B's is the faster one
        ([4.0, None], [4.19, None], True),
        ([4.0, None], [4.3, None], False),
        ([None], [4.0], False),
    ],
)
def test_programs_are_the_same_unless_b_compiles_clearly_longer(a, b, expected):
    pairs = [pairing.Pair(run(1.0, xla_s=x), run(1.0, xla_s=y)) for x, y in zip(a, b, strict=True)]

    assert judging.have_same_programs(pairs, sequential.Limits()) == expected


def test_the_loss_of_a_run_is_the_last_of_its_validations_or_else_that_of_inference():
    losses = {"val_loss": [3.0, 2.0], "inference_loss": [1.0]}
    report = documents.report(changes={f"report/wl-stats/{k}": v for k, v in losses.items()})

    assert costs.from_report(report).loss == 2.0
    del report.document["report"]["wl-stats"]["val_loss"]
    assert costs.from_report(report).loss == 1.0
    del report.document["report"]["wl-stats"]["inference_loss"]
    assert costs.from_report(report).loss is None


def test_another_program_is_another():
    pairs = [pairing.Pair(run(1.0), run(1.0, program="1"))]

    assert not judging.have_same_programs(pairs, sequential.Limits())


def test_a_cost_is_judged_by_the_pairs_that_measured_it():
    pairs = [pairing.Pair(run(1.0), run(1.0, program="1")) for _ in range(6)]
    pairs[3] = pairing.Pair(run(1.0, xla_s=None), run(1.0, program="1"))
    pairs[5] = pairing.Pair(run(1.0, xla_s=None), run(1.0, xla_s=None, program="1"))

    found = {one.name: len(one.values_a) for one in judging.judge(pairs, RULES, {})}

    assert found == {"training": 6, "compile": 4}


BOTH_STEPS = {"training", "inference", "memory training", "memory inference", "compile"}


@pytest.mark.parametrize(
    ("changes", "blocked"),
    [
        ({}, set()),
        ({"report/wl-stats/batch_size_per_device": 4}, set()),  # marked: told, and compared
        (
            {"report/wl-stats/data/test/sha256": "1" * 64},
            {"inference", "memory inference", "accuracy"},
        ),
        ({"run_info/precision": "tf32"}, BOTH_STEPS),
        ({"app/workload_version": 2}, BOTH_STEPS | {"accuracy"}),
    ],
)
def test_measures_that_must_not_be_compared_are_blocked_and_all_findings_are_told(changes, blocked):
    a, b = documents.report(), documents.report("b.json", changes=changes)

    found, notes = judging.blocked_measures(a, b, in_one_session=False)

    assert set(found) == blocked
    assert bool(notes) == bool(changes)


@pytest.mark.parametrize("side", [0, 1])
@pytest.mark.parametrize("lacking", ["training", "inference"])
def test_a_phase_of_one_side_alone_does_not_pass(lacking, side):
    sides = [documents.report(), documents.report()]
    sides[side] = documents.report("other.json", **{lacking: None})
    pair = pairing.Pair(*map(costs.from_report, sides))

    blocked, _ = judging.blocked_measures(*sides, in_one_session=False)
    found = {one.name: one for one in judging.judge([pair] * 6, RULES, blocked)}

    assert judging.whole([*found.values()]) == "cannot decide"
    assert found["compile"].decision.verdict == "undecided", "it is of one step and of two"


def test_on_another_machine_nothing_is_compared():
    a = documents.report()
    b = documents.report("b.json", changes={"app/environment/runtime/num_cores": 64})

    found, (note,) = judging.blocked_measures(a, b, in_one_session=False)

    assert set(found) >= BOTH_STEPS
    assert note.startswith("other machine: ")


def judged(*verdicts, kind="timed"):
    """Judgements with those verdicts, of which only "undecided" asks for more pairs."""
    one = training([pairing.Pair(run(1.0), run(1.0))])
    decisions = [sequential.Decision(v, v != "undecided", 6, 0) for v in verdicts]
    return [dataclasses.replace(one, kind=kind, decision=decision) for decision in decisions]


@pytest.mark.parametrize(
    ("verdicts", "expected"),
    [
        (("no regression", "no regression"), "no regression"),
        (("no regression", "undecided"), "cannot decide"),
        (("undecided", "regression", "no regression"), "regression"),
    ],
)
def test_the_whole_is_as_good_as_its_worst_measure(verdicts, expected):
    assert judging.whole(judged(*verdicts)) == expected


def test_it_is_enough_when_all_is_decided_or_a_time_has_regressed():
    assert judging.is_enough(judged("no regression", "no regression"))
    assert judging.is_enough(judged("undecided", "regression"))
    assert not judging.is_enough(judged("undecided", "no regression"))
    memory = judged("regression", kind="exact")
    assert not judging.is_enough([*judged("undecided"), *memory])


@pytest.mark.parametrize(
    ("accuracy", "loss", "verdict"),
    [
        (0.9, 100.0, "no regression"),
        (0.896, 104.0, "no regression"),  # within what may be lost
        (0.894, 100.0, "regression"),
        (0.9, 106.0, "regression"),
    ],
)
def test_the_accuracy_may_fall_and_the_loss_rise_by_no_more_than_the_rules_say(
    accuracy, loss, verdict
):
    def learnt(accuracy, loss, weights):
        digests = run(1.0).digests | {"weights": weights}
        return dataclasses.replace(run(1.0), accuracy=accuracy, loss=loss, digests=digests)

    def found(weights):
        pair = pairing.Pair(learnt(0.9, 100.0, "0"), learnt(accuracy, loss, weights))
        judged = {one.name: one for one in judging.judge([pair] * 6, RULES, {})}
        return judged["accuracy"].decision.verdict

    assert found("1") == verdict
    assert found("0") == "no regression", "the same bits are as good, whatever is said of them"


def test_runs_without_an_accuracy_are_not_judged_by_it():
    pairs = [pairing.Pair(run(1.0), run(1.0))] * 6

    assert "accuracy" not in {one.name for one in judging.judge(pairs, RULES, {})}


@pytest.mark.parametrize(
    ("a", "b", "in_one_session", "words"),
    [
        ("zen4", "zen4", False, None),
        ("zen4", "zen5", False, "other machine: amd-epyc-f25"),
        ("zen4", "zen5", True, "other machine: amd-epyc-f25"),
        ("zen4", None, False, "perhaps another machine: B does not identify its CPU"),
        (None, "zen4", True, None),  # an older version, on this machine
        (None, None, False, None),
    ],
)
def test_a_machine_that_is_not_known_to_be_the_same_blocks_times(a, b, in_one_session, words):
    place = "app/environment/surroundings/identity"
    first, second = (
        documents.report(changes={place: documents.IDENTITY[name] if name else {}})
        for name in (a, b)
    )

    blocked, notes = judging.blocked_measures(first, second, in_one_session=in_one_session)

    assert bool(blocked) == (words is not None)
    assert blocked.get("training", "").startswith(words or "")
    assert bool(notes) == (words is not None or a is b is None)
