"""Growth studies: runs get the settings of their size; laws and tables come from the reports."""

import json

import pytest

from benchmarks.growth import axes, recorded, table
from mlpf_jax import progress
from mlpf_jax.render import tables
from mlpf_jax.report import hepscore
from mlpf_jax.study import documents, engine, findings, running, runs
from tests import recorded as old_files

VALUES = ("1", "2", "4", "8", "16")


def made(axis="batch", values=VALUES, settings=(), **more):
    return axes.sweep(axes.AXES[axis], values, settings, **{"repeats": 1} | more)


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
    sweep = made(axis, (str(value), "1", "3"), ("--flagfile=x",), batch_size=2)
    (point,) = (p for p in sweep.points if p.get(axes.AXES[axis].flags[0]) == value)

    arguments = sweep.run_arguments(point, 0)

    effective = dict(word.partition("=")[::2] for word in arguments)
    assert arguments[0] == "--flagfile=x"
    assert expected <= {f"{flag}={value}" for flag, value in effective.items()}
    assert effective["--seed"] == "1"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"values": ("1", "2")}, "three"),
        ({"num_steps": 2}, "num_steps"),
        ({"batch_size": 0}, "--batch"),
        ({"repeats": 0}, "--repeats=0"),
        ({"values": ("x",)}, "--values=x: must be whole numbers"),
    ],
)
def test_an_impossible_study_is_refused(changes, message):
    with pytest.raises(engine.StudyError, match=message):
        made(**changes)


def test_sizes_are_in_order_and_the_axis_has_its_own():
    def sizes(*words):
        return [point.get("num_devices") for point in made("devices", words).points]

    assert sizes("4", "1", "4", "2") == [1, 2, 4]
    assert sizes() == [1, 2, 4, 8]


def fake_runner(arguments, folder):
    """Writes a report whose cost per event grows as the root of the batch; 16 does not fit."""
    given = dict(word[2:].partition("=")[::2] for word in arguments)
    batch = int(given["batch_size"])
    if batch == 16:
        return running.Outcome(1, "out of memory")
    document = json.loads(old_files.OLDEST_REPORT.read_text())
    config = document["run_info"]["config"]
    config["train"]["batch_size"] = batch
    config["data"] |= {n: int(given[n]) for n in ("num_train_events", "num_test_events")}
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
def found(tmp_path_factory):
    """A study of five batches, of which the largest fails."""
    sweep = made(repeats=2)
    out = tmp_path_factory.mktemp("growth")
    measured = engine.run(sweep, out, fake_runner, progress.Progress(quiet=True))
    results = runs.results(measured, out)
    return findings.Findings(
        provenance=runs.provenance(measured),
        arguments=sweep.arguments,
        repeats=sweep.repeats,
        results=tuple(results.values()),
        series=(findings.series(axes.kind(axes.AXES["batch"]), list(results.values())),),
    )


def test_a_study_gathers_all_runs_and_fits_every_cost(found):
    (series,) = found.series
    assert sum(len(result.runs) for result in found.results) == 8
    assert found.results[-1].failure == "out of memory"
    law = series.powers["step time per event"]["training"]
    assert law.exponent == pytest.approx(0.5)
    memory = series.powers["memory per event"]["inference"]
    assert memory.exponent == pytest.approx(0)
    assert memory.cost(3) == pytest.approx(1000)


def test_the_table_shows_sizes_laws_and_failures(found):
    text = tables.render(table.view(found), "terminal", width=150)

    assert "0.5 (0.5 to 0.5)" in text
    assert "step time per event, training: exponent 0.500" in text
    assert "16: not measured: out of memory" in text
    assert table.cliffs(found.series[0]) == []


def test_a_written_study_is_read_back_to_the_same_table(found, tmp_path):
    path = tmp_path / "growth-batch.json"
    path.write_text(tables.render(table.view(found), "json"))

    again = recorded.read(path)

    assert tables.render(table.view(again), "json") == path.read_text()
    assert documents.read(path) is not None  # so the page shows it


def test_a_study_of_an_older_version_is_still_read():
    path = old_files.DATA / "growth.json"
    found = recorded.read(path)

    law = found.series[0].powers["memory per event"]["training"]
    old = json.loads((old_files.DATA / "growth.json").read_text())["laws"]["memory per event"][
        "training"
    ]
    assert law.exponent == pytest.approx(old["exponent"])
    assert [row.x for row in found.series[0].rows] == [1, 4, 16, 64]


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"format": "x", "studies": {"weak": {}}}'])
def test_a_file_that_is_not_a_growth_study_is_refused_in_one_line(tmp_path, text):
    path = tmp_path / "odd.json"
    path.write_text(text)

    with pytest.raises(ValueError, match=r"^[^\n]*odd.json: not a growth study[^\n]*$"):
        recorded.read(path)


def test_the_picture_is_the_same_bytes_every_time(found):
    plots = pytest.importorskip("mlpf_jax.study.plots")

    first = plots.draw(found, "svg")

    assert first == plots.draw(found, "svg")
    assert first.startswith(b"<?xml")
