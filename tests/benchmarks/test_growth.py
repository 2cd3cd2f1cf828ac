"""Growth: laws come out of known costs; runs are given what their size asks for."""

import json

import pytest

from benchmarks.growth import plan, study, table
from mlpf_jax.report import hepscore
from mlpf_jax.study import running
from tests import fake_benchmark


def test_every_second_round_goes_backwards():
    made = plan.Plan("batch", (1, 2, 4), 2, ())

    assert made.order() == [(0, 1), (0, 2), (0, 4), (1, 4), (1, 2), (1, 1)]


@pytest.mark.parametrize(
    ("axis", "value", "expected"),
    [
        ("batch", 4, {"--batch_size=4", "--num_train_events=8", "--num_test_events=4"}),
        ("devices", 4, {"--num_devices=4", "--batch_size=2", "--num_train_events=16"}),
        ("elements", 1280, {"--num_elements=1280", "--batch_size=2", "--num_devices=1"}),
        ("bin_size", 320, {"--bin_size=320"}),
        ("layers", 2, {"--num_id_layers=2", "--num_energy_layers=2"}),
    ],
)
def test_a_run_is_given_its_size_and_full_batches(axis, value, expected):
    made = plan.Plan(axis, (1, 2, 4), 1, ("--flagfile=x",), batch_size=2)

    arguments = made.arguments(value, 0)

    assert arguments[0] == "--flagfile=x"
    assert expected <= set(arguments)
    assert "--seed=1" in arguments


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"values": (1, 2)}, "three"),
        ({"num_steps": 2}, "num_steps"),
        ({"batch_size": 0}, "--batch"),
    ],
)
def test_an_impossible_plan_is_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        plan.Plan(**{"axis": "batch", "values": (1, 2, 4), "repeats": 1, "settings": ()} | changes)


def test_values_are_whole_numbers_in_order():
    assert plan.parse_values(["4", "1", "4"], "batch") == (1, 4)
    assert plan.parse_values([], "devices") == (1, 2, 4, 8)
    with pytest.raises(ValueError, match="--values=x"):
        plan.parse_values(["x"], "batch")


def fake_runner(arguments, folder):
    """Writes a report whose cost per event grows as the root of the batch; 16 does not fit."""
    given = dict(word[2:].partition("=")[::2] for word in arguments)
    batch = int(given["batch_size"])
    if batch == 16:
        return running.Outcome(1, "out of memory")
    document = json.loads(fake_benchmark.TEMPLATE.read_text())
    stats = document["report"]["wl-stats"]
    stats["batch_size_total"] = batch
    for phase in stats["phases"].values():
        count = len(phase["sample_s"])
        phase["sample_s"] = [batch**1.5] * count
        phase["sample_steps"], phase["sample_elements"] = [1] * count, [1] * count
        phase["sample_events"] = [batch] * count
        phase["memory_per_device"]["total_bytes"] = 1000 * batch
    (folder / hepscore.FILE_NAME).write_text(json.dumps(document))
    return running.Outcome(0, "")


@pytest.fixture(scope="module")
def findings():
    made = plan.Plan("batch", (1, 2, 4, 8, 16), 2, ())
    told = []
    found = study.run(made, told.append, fake_runner)
    assert told[4] == "batch 16: failed: out of memory"
    return found


def test_a_study_gathers_all_runs_and_fits_every_cost(findings):
    assert len(findings.runs) == 8
    assert findings.failures == {16: "out of memory"}
    law = findings.laws["step time per event"]["training"]
    assert law.exponent == pytest.approx(0.5)
    memory = findings.laws["memory per event"]["inference"]
    assert memory.exponent == pytest.approx(0)
    assert memory.cost(3) == pytest.approx(1000)


def test_the_table_shows_sizes_laws_and_failures(findings):
    text = table.text(findings)

    assert "| 4 | 0.5 (0.5 to 0.5) | 0.5 (0.5 to 0.5) |" in text
    assert "step time per event, training: exponent 0.500" in text
    assert "* 16: not measured: out of memory" in text
    assert table.cliffs(findings) == []


def test_a_study_without_a_run_says_why():
    with pytest.raises(RuntimeError, match="no run ended well: killed"):
        study.run(
            plan.Plan("batch", (1, 2, 4), 1, ()),
            lambda _: None,
            lambda arguments, folder: running.Outcome(1, "killed"),
        )


def test_the_picture_is_the_same_bytes_every_time(findings):
    plot = pytest.importorskip("benchmarks.growth.plot")

    first = plot.draw(findings, "a machine")

    assert first == plot.draw(findings, "a machine")
    assert first.startswith(b"<?xml")
