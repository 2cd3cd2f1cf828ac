"""Baselines keep what they were given, and are not lost by mistake."""

import dataclasses
import json
import math
import os

import pytest

from mlpf_jax.regress import baseline
from mlpf_jax.regress import costs as measures
from mlpf_jax.report import reader
from tests import recorded

REPORT = reader.read(recorded.OLDEST_REPORT)
SETTINGS = ("--seed=1",)


def make(name="spring", costs=(1.0, 1.1, 1.0, 1.1, 1.0)):
    reports = []
    for cost in costs:
        document = json.loads(json.dumps(REPORT.document))
        document["report"]["wl-stats"]["phases"]["training"]["sample_s"] = [cost] * 29
        reports.append(reader.from_document(document, "x"))
    runs = [measures.from_report(report) for report in reports]
    return baseline.make(name, SETTINGS, reports[0], runs)


def test_a_written_file_is_read_back(tmp_path):
    made = make()

    path = baseline.write(made, tmp_path)

    assert path == tmp_path / "amd-epyc-2-cores" / "spring.json"
    assert baseline.read(path) == made
    assert made.first.environment["git_commit"] == REPORT.environment["git_commit"]
    assert made.runs[1].seconds["training"] == pytest.approx(1.1)


def test_a_report_gives_the_costs_and_provenance_of_a_run():
    run = measures.from_report(REPORT)

    training = REPORT.phases["training"]
    assert run.seconds["training"] == 1 / training.score.median
    assert run.seconds["compile"] == pytest.approx(
        sum(phase.compile_times.total_s for phase in REPORT.phases.values())
    )
    assert run.memory_bytes["training"] == training.memory_bytes
    assert run.accuracy == REPORT.accuracy
    assert run.machine_class == REPORT.machine_class
    assert {"losses", "weights", "program.training"} <= run.digests.keys()


def test_nothing_is_replaced_unless_that_is_asked_for(tmp_path):
    path = baseline.write(make(), tmp_path)
    before = path.read_bytes()

    with pytest.raises(ValueError, match=r"exists already. Take another name, or --force"):
        baseline.write(make(costs=[2.0]), tmp_path)

    assert path.read_bytes() == before
    baseline.write(make(costs=[2.0]), tmp_path, force=True)
    assert len(baseline.read(path).runs) == 1


def test_the_noise_is_that_of_neighbouring_runs():
    steps = math.log(1.1) * 1.482602218505602  # 1 over the upper quartile of a normal
    steps *= 4 / 3  # for four neighbours
    assert make().noises["training"] == pytest.approx(steps)
    assert make().noises["compile"] == 0
    assert make(costs=[1.0] * 3).noises == {}


def test_a_run_that_compiled_is_no_neighbour_of_one_that_did_not():
    made = make(costs=[1.0, 1.1, 1.0, 1.1, 5.0, 5.0, 5.0])
    runs = [
        dataclasses.replace(
            run, seconds={"training": run.seconds["training"]} if i >= 4 else run.seconds
        )
        for i, run in enumerate(made.runs)
    ]
    steps = math.log(1.1) * 1.482602218505602  # 1 over the upper quartile of a normal
    steps *= 5 / 4  # for five neighbours

    noises = dataclasses.replace(made, runs=tuple(runs)).noises

    assert noises["training"] == pytest.approx(steps)
    assert noises["compile"] == 0


def test_the_newest_of_a_class_and_preset_is_found(tmp_path):
    baseline.write(make("old"), tmp_path)

    found = baseline.newest(baseline.read_all(tmp_path), REPORT, SETTINGS)

    assert found is not None
    assert found.name == "old"
    assert baseline.newest(baseline.read_all(tmp_path), REPORT, ("--seed=2",)) is None


@pytest.mark.parametrize("memory", [2**30, None])
def test_a_machine_that_differs_or_is_not_known_to_be_the_same_has_another_noise(tmp_path, memory):
    baseline.write(make("old"), tmp_path)
    document = json.loads(json.dumps(REPORT.document))
    document["app"]["environment"]["memory_bytes"] = memory
    elsewhere = reader.from_document(document, "x")

    assert elsewhere.machine_class == REPORT.machine_class
    assert baseline.newest(baseline.read_all(tmp_path), elsewhere, SETTINGS) is None


def test_the_same_programs_are_compiled_in_the_same_time_whatever_the_clock_said():
    lowering, whole = [1.0, 1.2, 1.1], [5.0, 6.2, None]
    run = measures.from_report(REPORT)
    found = [
        dataclasses.replace(run, lower_s=s, seconds={"compile": all_s} if all_s else {})
        for s, all_s in zip(lowering, whole, strict=True)
    ]

    assert measures.compile_of_same_programs(found) == pytest.approx([5.5, 5.7, 5.6])


@pytest.mark.parametrize("name", ["", "../x", "Spring", "a/b", ".x"])
def test_a_name_is_one_of_a_file(name):
    with pytest.raises(ValueError, match="not a valid name of a baseline"):
        make(name)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda document: document.update(runs=[]), "runs: "),
        (lambda document: document["runs"][0]["seconds"].update(training=0), "training: "),
        (lambda document: document["runs"][0].update(accuracy=math.nan), "NaN is no number"),
        (lambda document: document["runs"][0].update(accuracy=10**400), "accuracy: "),
        (lambda document: document["runs"][0].update(loss=10**400), "loss: "),
        (lambda document: document["runs"][0]["memory_bytes"].update(training=1e18), "training: "),
        (lambda document: document.update(format="x"), "format: "),
        (lambda document: document["report"].pop("report"), "the report: "),
    ],
)
def test_a_file_that_is_no_baseline_is_refused_by_its_name(tmp_path, damage, message):
    path = baseline.write(make(), tmp_path)
    document = json.loads(path.read_text())
    damage(document)
    path.write_text(json.dumps(document))

    with pytest.raises(ValueError, match=message) as caught:
        baseline.read(path)

    assert str(caught.value).startswith(f"{path}: ")


def test_a_pipe_among_the_baselines_is_refused_and_not_waited_for(tmp_path):
    (tmp_path / "a").mkdir()
    os.mkfifo(tmp_path / "a" / "b.json")

    with pytest.raises(ValueError, match=r"b\.json: not a file"):
        baseline.read_all(tmp_path)


def test_a_run_with_facts_of_another_version_is_read(tmp_path):
    path = baseline.write(make(), tmp_path)
    document = json.loads(path.read_text())
    for run in document["runs"]:
        run["yardstick_s"] = 0.1
    path.write_text(json.dumps(document))

    assert baseline.read(path).runs == make().runs
