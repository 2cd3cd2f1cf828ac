"""Files of earlier versions are still read, with all that their version recorded."""

import json
import pathlib
import shutil

import pytest

from mlpf_jax.compare import history, ratio_tables, ratios, runs, talk
from mlpf_jax.page import contents
from mlpf_jax.regress import baseline
from mlpf_jax.regress import documents as decisions
from mlpf_jax.render import tables
from tests import recorded

REPORTS = sorted(recorded.REPORTS.glob("*.json"))
PUBLISHED = pathlib.Path(__file__).parents[1] / "benchmarks"
BASELINES = sorted((PUBLISHED / "baselines").rglob("*.json"))


@pytest.mark.parametrize(
    ("name", "num_steady", "variant", "has_load"),
    [
        ("4ffb448", 29, "float32", False),
        ("e34d407", 9, "float32", True),
        ("7ca3f33", 4, "float32", True),
        ("7ca3f33-tight", 7, "float32, tight", True),
    ],
)
def test_a_report_of_every_version_is_read(name, num_steady, variant, has_load):
    report = runs.read(recorded.REPORTS / f"{name}.json")

    training = report.phases["training"]
    assert len(training.rates) == num_steady
    assert training.score.median == pytest.approx(
        report.document["report"]["wl-scores"][training.score_name]
    )
    assert report.variant == variant
    assert all((sample.load is not None) == has_load for sample in training.samples)
    assert report.machine == "AMD EPYC, 2 cores"
    assert report.environment["git_commit"].startswith(name[:7])
    assert report.accuracy is not None


def test_reports_of_all_versions_stand_in_one_table():
    compared = ratios.compare(runs.read_groups(REPORTS))

    text = tables.render(ratio_tables.view(compared), "terminal", width=200)

    assert text.count(".json") >= len(REPORTS)


def test_the_published_run_of_the_talks_case_is_in_its_table_of_accuracies():
    path = PUBLISHED / "results" / "2026-11-24_epyc-2-cores_reproducibility.json"

    assert talk.why_left_out(runs.read(path)) == ""


def test_a_store_of_an_earlier_version_is_read_and_gets_nothing_twice(tmp_path):
    store = shutil.copytree(recorded.DATA / "history", tmp_path / "history")

    series = history.series(runs.read_all([store]), "training")
    added = history.add(store, [recorded.REPORTS / "7ca3f33.json"])

    points = [point for one in series for point in one.points]
    commits = {point.report.environment["git_commit"][:7] for point in points}
    assert commits == {"e34d407", "7ca3f33"}
    assert [one.is_new for one in added] == [False]


def test_a_baseline_of_an_earlier_version_is_read():
    found = baseline.read(recorded.DATA / "baseline.json")

    assert found.name == "spring"
    assert [run.seconds["training"] for run in found.runs] == pytest.approx([1.0] * 4, rel=0.01)
    assert found.first.machine == "AMD EPYC, 2 cores"


def test_a_decision_of_an_earlier_version_fits_the_schema_and_is_shown():
    found = json.loads((recorded.DATA / "decision.json").read_text())

    baseline.validate(found, "decision")
    text = decisions.text(found, width=120, colour=False)

    assert "Verdict: regression: inference (exit status 1)" in text
    assert "slower (confirmed)" in text


def test_a_scaling_study_of_an_earlier_version_is_read():
    (study,) = contents.read([recorded.DATA / "scaling.json"]).studies

    assert set(study.studies) == {"strong", "batch"}
    assert [row["x"] for row in study.studies["batch"]["rows"]] == [1, 2, 4]


def test_the_folder_of_published_results_makes_a_page_and_what_is_no_run_is_named():
    told = []

    found = contents.read([PUBLISHED / "results"], told.append)

    assert found.groups
    assert found.studies
    num_read = sum(len(group.reports) for group in found.groups) + len(found.studies)
    assert num_read + len(told) == len(list((PUBLISHED / "results").iterdir()))
    assert all(line.startswith("skipped: ") for line in told)


@pytest.mark.parametrize("path", BASELINES, ids=lambda path: path.stem)
def test_a_published_baseline_is_read(path):
    assert baseline.read(path).runs
