"""A comparison is shown with every number's footnotes, in every format."""

import csv
import io
import json

import pytest

from mlpf_jax.compare import ratio_tables, ratios, runs
from mlpf_jax.render import tables
from tests.report import documents

STATS = "report/wl-stats"


def shown(wanted, *groups):
    found = ratios.compare([runs.Group(name=r.source, reports=(r,)) for r in groups])
    return tables.render(ratio_tables.view(found), wanted)


def cells(text, title, label):
    """A row of one table of Markdown."""
    table = text.partition(f"**{title}")[2].partition("\n\n**")[0]
    row = next(line for line in table.splitlines() if line.startswith(f"| {label} |"))
    return [cell.strip().replace("\\", "") for cell in row.strip("|").split(" | ")]


A = documents.report("a.json")


def test_a_ratio_stands_beside_its_interval_and_verdict():
    slower = documents.report("b.json", training=[rate / 1.5 for rate in documents.RATES])

    row = cells(shown("markdown", A, slower), "Training", "B")

    assert row[1] == "6.667"
    assert row[3] == "0.667"
    assert row[5] == "slower"
    assert cells(shown("markdown", A, slower), "Training", "A")[3] == "baseline"


def test_a_refused_ratio_is_no_number_and_has_its_reason():
    text = shown("markdown", A, documents.report("b.json", changes={"run_info/precision": "tf32"}))

    assert cells(text, "Training", "B")[3:6] == ["refused [1]", "-", "-"]
    assert r"\[1\] refused: another precision is another score: precision float32" in text


def test_a_marked_number_has_its_footnote():
    changes = {f"{STATS}/batch_size_per_device": 4, f"{STATS}/doubts": ["inference: a drift"]}

    text = shown("markdown", A, documents.report("b.json", changes=changes))

    assert cells(text, "Training", "B")[3] == "1.000 [1]"
    assert cells(text, "Inference", "B")[1] == "10 [2]"
    assert r"\[2\] marked: unreliable measurement: inference: a drift" in text


def test_a_phase_that_was_not_run_is_a_dash_and_reported():
    text = shown("markdown", A, documents.report("b.json", training=None))

    assert set(cells(text, "Training", "B")[1:]) == {"-"}
    assert "incomplete: no training in b.json" in text


COLUMNS = (
    "% of peak",
    "events/J",
    "net events/J",
    "per million events",
    "whole training",
)


@pytest.mark.parametrize("heading", COLUMNS)
def test_columns_without_a_number_are_left_out(heading):
    phase = f"{STATS}/phases/training"
    changes = {
        f"{phase}/energy": {
            "events_per_j": 0.5,
            "events_per_j_low": 0.4,
            "events_per_j_high": 0.6,
            "net_events_per_j": 0.7,
        },
        f"{phase}/cost": {"per_million_events": 3.0},
        f"{STATS}/cost": {"price_per_hour": 2.5, "currency": "EUR", "training": 7.0},
        f"{phase}/share_of_peak": {"share": 0.25},
    }

    assert heading not in shown("markdown", A)
    text = shown("markdown", A, documents.report("b.json", changes=changes))
    assert heading in text
    if heading == "whole training":  # which is not inference's
        assert "7 EUR" in cells(text, "Cost", "B")
        assert text.count("7 EUR") == 1
    if heading == "% of peak":
        assert cells(text, "Training", "B")[-1] == "25"


def test_what_changed_is_explained_under_the_tables():
    gpu = documents.report("b.json", changes={"app/devices": documents.GPU})

    assert "B against A: the hardware changed, the compiler did not." in shown("terminal", A, gpu)


def test_the_assumed_noise_is_reported():
    text = shown("terminal", A, A)

    assert "3 % (--run_noise)" in text.replace("\n", " ")


def test_a_line_of_csv_has_all_of_a_row():
    slower = documents.report("b.json", training=[rate / 1.5 for rate in documents.RATES])

    first, second = csv.DictReader(io.StringIO(shown("csv", A, slower)))

    assert (first["label"], first["training_ratio_value"]) == ("A", "")
    assert float(second["training_ratio_value"]) == pytest.approx(1 / 1.5)
    assert second["training_verdict"] == "slower"
    assert float(second["accuracy"]) == 0.9
    assert second["events"] == "80 + 80"


def test_memory_is_in_gib_and_differing_accuracies_have_both_ends():
    changes = {f"{STATS}/memory/peak_process_bytes": 3 * 2**30}
    reports = [
        documents.report(f"{last}.json", changes={**changes, f"{STATS}/val_accuracy": [last]})
        for last in (0.8, 0.9)
    ]
    found = ratios.compare([runs.Group(name="a", reports=tuple(reports))])

    text = tables.render(ratio_tables.view(found), "markdown")

    assert cells(text, "Compilation", "A")[-1] == "1"
    assert cells(text, "Epochs", "A")[-2:] == ["0.8000 to 0.9000", "3"]


def test_the_document_keeps_the_unrounded_numbers_and_the_facts():
    found = json.loads(shown("json", A, documents.report("b.json")))

    row = found["rows"][1]
    assert found["run_noise"] == ratios.RUN_NOISE
    assert row["phases"]["training"]["throughput"]["median"] == pytest.approx(10.0)
    assert {"category": "compiler", "name": "jax", "value": "0"} in row["facts"]


def test_a_hostile_name_breaks_no_table():
    name = "x|y\n| A | [red]\x1b[31m.json"
    changes = {"app/environment/cpu": name}

    text = shown("markdown", A, documents.report(name, changes=changes))

    assert "\x1b" not in text
    assert len([line for line in text.splitlines() if line.startswith("| A |")]) == 6
