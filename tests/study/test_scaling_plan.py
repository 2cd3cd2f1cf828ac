"""A study's points are those asked for; what its runs cannot share is refused in one line."""

import pytest

from mlpf_jax.study import engine
from mlpf_jax.study.scaling import plan
from tests.study import fake_runs


def sizes(points):
    return [(point.get("num_devices"), point.get("batch_size")) for point in points]


def test_weak_and_strong_scaling_meet_at_the_most_devices():
    points = fake_runs.plan("weak", "strong", batch_size=3, max_devices=8).points()

    assert sizes(points["weak"]) == [(1, 3), (2, 3), (4, 3), (8, 3)]
    assert sizes(points["strong"]) == [(1, 24), (2, 12), (4, 6), (8, 3)]


def test_without_batches_the_talks_sixteen_events_are_shared():
    made = plan.make(["weak", "strong", "batch"], [], max_devices=8, repeats=1)

    assert sizes(made.points()["weak"])[-1] == sizes(made.points()["strong"])[-1] == (8, 2)
    assert sizes(made.points()["batch"]) == [(1, 1), (1, 2), (1, 4), (1, 8), (1, 16)]


def test_the_most_devices_and_the_largest_batch_need_be_no_power_of_two():
    arguments = ["--global_batch_size=12"]
    made = plan.make(["strong", "batch"], arguments, max_devices=6, repeats=1, max_batch_size=5)

    assert sizes(made.points()["strong"]) == [(1, 12), (2, 6), (4, 3), (6, 2)]
    assert sizes(made.points()["batch"]) == [(1, 1), (1, 2), (1, 4), (1, 5)]


def test_fewer_events_are_trained_on_with_as_many_updates():
    arguments = ["--num_train_events=1100", "--num_epochs=5", "--global_batch_size=16"]
    made = plan.make(["data"], arguments, max_devices=8, repeats=1)

    points = made.points()["data"]
    assert [point.get("num_train_events") for point in points] == [138, 275, 550, 1100]
    assert {point.get("num_steps") for point in points} == {5 * 69}
    assert len({point.name for point in points}) == 4


def test_sets_that_fill_no_batch_are_left_out():
    points = fake_runs.plan("data", num_train_events=20, global_batch_size=8).points()["data"]

    assert [point.get("num_train_events") for point in points] == [10, 20]


def test_a_run_gets_the_shared_settings_and_then_its_own():
    made = fake_runs.plan("weak", max_devices=2, learning_rate=1)
    point = made.points()["weak"][1]

    arguments = made.sweep().run_arguments(point, 2)
    values = dict(argument[2:].split("=") for argument in arguments)
    assert arguments[0] == "--steps_per_epoch=0"
    assert "--learning_rate=1" in arguments
    assert values["num_devices"] == values["batch_size"] == "2"
    assert values["seed"] == "7"  # the given one for the first round, then the next
    assert "global_batch_size" not in values
    assert "num_steps" not in values


def test_a_later_setting_wins_as_in_the_program_itself():
    arguments = ["--batch-size=2", "--batch_size=4"]

    assert plan.make(["weak"], arguments, max_devices=2, repeats=1).batch_size == 4


@pytest.mark.parametrize(
    ("arguments", "culprit"),
    [
        (["--num_devices=2"], "--num_devices=2: not allowed"),
        (["--results-dir=x"], "--results-dir=x: not allowed"),
        (["--checkpoint=x"], "--checkpoint=x"),
        (["--fit"], "--fit"),
        (["batch_size=4"], "batch_size=4: write settings of the runs as --name=value"),
        (["--batch_size", "4"], "--batch_size: must be a whole number"),
        (["--seed=many"], "--seed=many"),
        (["--batch_size=0", "--global_batch_size=4"], "must be at least 1"),
        (
            ["--global_batch_size=6"],
            "--global_batch_size=6 cannot be divided evenly among 4 devices",
        ),
        (["--num_epochs=3"], "--study=data needs --num_train_events"),
    ],
)
def test_settings_that_runs_cannot_share_are_refused(arguments, culprit):
    with pytest.raises(engine.StudyError, match=r"^[^\n]+$") as caught:
        plan.make(["strong", "data"], arguments, max_devices=4, repeats=1)

    assert culprit in str(caught.value)


@pytest.mark.parametrize("wrong", [{"repeats": 0}, {"max_devices": 0}, {"max_batch_size": -1}])
def test_impossible_numbers_are_refused(wrong):
    with pytest.raises(engine.StudyError, match=next(iter(wrong))):
        plan.make(["weak"], [], **{"max_devices": 2, "repeats": 1} | wrong)


def test_a_preset_for_one_device_can_be_studied():
    arguments = ["--num_devices=1", "--batch_size=2"]

    made = plan.make(["weak"], arguments, max_devices=2, repeats=1)

    assert sizes(made.points()["weak"]) == [(1, 2), (2, 2)]
