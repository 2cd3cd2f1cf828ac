"""The page of a study answers first, marks what is emulated, and hides no failure."""

import csv
import io
import json

import pytest

from mlpf_jax.render import tables
from mlpf_jax.study.scaling import notes as scaling_notes
from mlpf_jax.study.scaling import view as scaling_view
from tests.study import fake_runs


@pytest.fixture(scope="module")
def findings(tmp_path_factory):
    """A study of everything, in which the largest batch fails."""
    runner = fake_runs.FakeMain(
        noise=0.01,
        failures={(1, 8): fake_runs.running.Outcome(1, "no | memory\x1b[31m <b>")},
        doubts=["training: 3 | 4"],
    )
    studies = ("weak", "strong", "batch", "data")
    return fake_runs.findings(tmp_path_factory.mktemp("study"), runner, *studies)


@pytest.fixture(scope="module")
def view(findings):
    return scaling_view.view(findings)


def table_of(view, word):
    return next(table for table in view.tables if word in table.title)


def test_virtual_devices_are_marked_in_titles_rows_notes_and_the_document(view):
    weak = table_of(view, "Weak scaling, inference")

    assert weak.title.endswith("(emulated)")
    assert [row[-1].startswith("emulated") for row in weak.rows] == [False, True, True]
    assert view.notes[0] == scaling_notes.EMULATED
    assert view.document["is_emulated"]
    assert not table_of(view, "Batch size").title.endswith("(emulated)")


def test_every_point_has_its_row_with_interval_or_reason(view):
    strong = table_of(view, "Strong scaling, training")
    failed, *others = strong.rows

    assert failed[:3] == ("1", "8", "-")
    assert failed[-1] == "failed"
    assert all(" to " in row[2] for row in others)
    assert [row[4].endswith(" %") for row in others] == [True, True]
    assert " to " in others[1][4]
    assert any("no | memory" in note for note in view.notes)


def test_the_talks_questions_are_answered(view):
    notes = "\n".join(view.notes)

    assert "From 1 to 8 events per step the accuracy changes by -0.0070" in notes
    assert "more than chance between seeds" in notes
    assert "after as many passes over the events (1)" in notes
    assert "same seed? The accuracy differs by at most" in notes
    assert "Serial fraction of training by Gustafson's law (weak scaling, emulated): 0." in notes


def test_the_size_of_the_data_is_judged_by_its_last_doubling(tmp_path):
    found = fake_runs.findings(tmp_path, fake_runs.FakeMain(), "data")
    notes = "\n".join(scaling_notes.notes(found))

    assert "From 32 to 64 training events, at the same number of updates" in notes
    assert "changes by +0.0000: that may be chance" in notes


def test_unreliable_runs_are_reported(view):
    assert table_of(view, "Batch size").rows[0][-1] == "3 of 3 runs unreliable"
    told = [note for note in view.notes if "are unreliable measurements" in note]
    assert len(told) == 1
    assert "training: 3 | 4" in told[0]


def test_a_single_run_per_point_has_no_intervals_and_says_so(tmp_path):
    found = fake_runs.findings(tmp_path, fake_runs.FakeMain(), "weak", repeats=1)
    view = scaling_view.view(found)

    assert not any(" to " in cell for table in view.tables for row in table.rows for cell in row)
    assert any("No intervals" in note for note in view.notes)
    assert any("one run cannot distinguish" in note for note in view.notes)


def test_the_document_is_json_and_holds_every_run_and_estimate(view):
    document = json.loads(tables.render(view, "json"))

    assert document["format"] == "mlpf_jax scaling study"
    assert document["points"]["num_devices-1_batch_size-8"]["failure"] == "no | memory <b>"
    assert document["points"]["num_devices-1_batch_size-8"]["runs"] == {}
    run = document["points"]["num_devices-4_batch_size-2"]["runs"]["1"]
    assert run["file"] == "runs/num_devices-4_batch_size-2/round-1/mlpf-jax_summary.json"
    assert run["seed"] == 6
    strong = document["studies"]["strong"]
    assert strong["reference"] == 2
    assert strong["rows"][1]["point"] == "num_devices-2_batch_size-4"
    assert strong["rows"][1]["efficiencies"]["training"]["value"] == 1.0
    assert document["provenance"]["machine"]


def test_the_csv_has_a_line_per_run_and_one_per_point_without(view, findings):
    lines = list(csv.DictReader(io.StringIO(tables.render(view, "csv"))))

    num_runs = sum(len(result.runs) or 1 for result in findings.results)
    assert len(lines) == num_runs
    assert float(lines[0]["training_events_per_s"]) > 0
    assert {line["failure"] for line in lines} == {"", "no | memory <b>"}


def test_text_of_runs_cannot_break_the_markdown(view):
    text = tables.render(view, "markdown")

    assert "no \\| memory &lt;b&gt;" in text
    assert "\x1b" not in text
