"""Changes of the machine's speed are divided out of a cost, but not those of the side."""

import dataclasses
import random

import pytest

from mlpf_jax.regress import costs, judging, pairing
from mlpf_jax.stats import sequential
from tests.report import documents

RULES = judging.Rules(limits=sequential.Limits(), same_compiler=True)


def run(training, yardstick_s=1.0, xla_s=4.0, lower_s=1.0, program="0"):
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
        yardstick_s=yardstick_s,
        doubts=(),
    )


def on_a_restless_machine(num_pairs, *, slower=1.0, yardstick_slower=1.0):
    """Runs whose times vary by 15 % with the machine, and by 1 % by themselves."""
    rng = random.Random(3)

    def one(factor, of_yardstick):
        speed = rng.uniform(0.85, 1.15)
        return run(factor * speed * rng.uniform(0.99, 1.01), of_yardstick * speed)

    return [pairing.Pair(one(1.0, 1.0), one(slower, yardstick_slower)) for _ in range(num_pairs)]


def training(pairs, rules=RULES):
    return next(one for one in judging.judge(pairs, rules, {}) if one.name == "training")


def test_a_change_of_the_machines_speed_is_divided_out():
    calm = training(on_a_restless_machine(6))
    restless = training(on_a_restless_machine(6), judging.Rules(limits=sequential.Limits()))

    assert calm.decision.verdict == "no regression"
    assert calm.noise < 0.02
    assert "yardstick" in calm.reason
    assert restless.noise > 0.05
    assert restless.decision.verdict == "undecided"


def test_a_slowdown_of_the_steps_alone_is_not_divided_out():
    found = training(on_a_restless_machine(10, slower=1.08))

    assert found.decision.verdict == "regression"
    assert found.ratio.value == pytest.approx(1.08, abs=0.01)


def test_a_side_that_also_slows_the_yardstick_is_judged_by_its_times():
    found = training(on_a_restless_machine(10, slower=1.5, yardstick_slower=1.5))

    assert found.decision.verdict == "regression"
    assert "yardstick" not in found.reason
    assert found.ratio.value > 1.3


def test_one_run_without_a_yardstick_leaves_all_as_they_were_timed():
    pairs = on_a_restless_machine(6)
    pairs[2] = pairing.Pair(pairs[2].a, run(1.0, None))

    assert judging.machine_slowdowns(pairs) is None
    assert "yardstick" not in training(pairs).reason


@pytest.mark.parametrize(
    ("a", "b", "expected"),
    [
        ([4.0, 4.4], [4.3, 4.1], True),
        ([4.0, 4.4], [4.5, 4.6], True),  # by less than the runs of A differ
        ([4.0, 4.1], [4.6, 4.7], False),
        ([4.6, 4.7], [4.0, 4.1], True),  # B's is the faster one
        ([4.0, None], [4.19, None], True),
        ([4.0, None], [4.3, None], False),
        ([None], [4.0], False),
    ],
)
def test_programs_are_the_same_unless_b_compiles_clearly_longer(a, b, expected):
    pairs = [pairing.Pair(run(1.0, xla_s=x), run(1.0, xla_s=y)) for x, y in zip(a, b, strict=True)]

    assert judging.have_same_programs(pairs, sequential.Limits()) == expected


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

    pair = pairing.Pair(learnt(0.9, 100.0, "0"), learnt(accuracy, loss, "1"))

    found = {one.name: one for one in judging.judge([pair] * 6, RULES, {})}

    assert found["accuracy"].decision.verdict == verdict


def test_runs_without_an_accuracy_are_not_judged_by_it():
    assert "accuracy" not in {
        one.name for one in judging.judge(on_a_restless_machine(6), RULES, {})
    }


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
