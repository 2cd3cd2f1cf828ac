"""The talk's tables: measured and published figures never in one table, and only the case in it."""

import csv
import io

import pytest

from mlpf_jax.compare import talk
from mlpf_jax.render import tables
from tests.report import documents

STATS = "report/wl-stats"
CASE = documents.report("case.json", changes=documents.TALK)


def titles(*reports):
    return [table.title for table in talk.view(reports).tables]


def test_a_run_of_the_talks_case_is_in_both_tables():
    found = talk.view([CASE])

    assert titles(CASE)[0].startswith("Measured: hardware")
    (row,) = found.tables[2].rows
    assert row[:4] == ("CPU, 1 core", "float32", "0.9000", "-0.0576")


def test_repetitions_stand_in_one_row_and_it_says_whether_their_weights_agree():
    again = documents.report("again.json", changes=documents.TALK)
    other = documents.report(
        "other.json", changes=documents.TALK | {f"{STATS}/params_sha256": "1" * 64}
    )

    assert talk.view([CASE, again]).tables[2].rows[0][2] == "0.9000 0.9000"
    assert talk.view([CASE, again]).tables[2].rows[0][-1] == "000000000000 in every run"
    assert talk.view([CASE, other]).tables[2].rows[0][-1] == "000000000000 111111111111"


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({f"{STATS}/data/train/num_events": 80}, "80 events, not 1100"),
        ({f"{STATS}/batch_size_total": 5}, "batch 5 in total, not 16"),
        ({f"{STATS}/steps_by_epoch": [69] * 4}, "not 5 whole epochs"),
        ({f"{STATS}/steps_by_epoch": [5] * 5}, "not 5 whole epochs"),
        ({"run_info/config/model/hidden_dim": 24}, "model.hidden_dim 24, not 256"),
        ({"run_info/config/data/num_elements": 256}, "data.num_elements 256, not 6400"),
        ({"run_info/config/train/learning_rate": 0.1}, "train.learning_rate 0.1, not 0.0001"),
    ],
)
def test_another_case_is_excluded_from_the_accuracies_with_a_reason(changes, reason):
    other = documents.report("other.json", changes=documents.TALK | changes)

    found = talk.view([other])

    assert talk.why_left_out(other) == reason
    assert f"not in the table of accuracies: other.json: {reason}" in found.notes
    assert not any(title.startswith("Measured: validation") for title in titles(other))
    assert len(found.tables[0].rows) == 1


def test_a_run_that_only_infers_is_in_no_table():
    infers = documents.report("i.json", training=None)

    assert talk.why_left_out(infers) == "no training"
    assert talk.view([infers]).tables[0].rows == ()


def test_other_precisions_of_the_case_stand_in_rows_of_their_own():
    tf32 = documents.report("b.json", changes=documents.TALK | {"run_info/precision": "tf32"})

    assert [row[1] for row in talk.view([CASE, tf32]).tables[2].rows] == ["float32", "tf32"]


def test_published_figures_stand_apart_and_say_so_in_every_format():
    found = talk.view([CASE])

    for table in found.tables:
        assert table.is_reference == table.title.startswith("PUBLISHED 2022, NOT MEASURED HERE")
    assert any(talk.SOURCE in note for note in found.notes)
    lines = list(csv.DictReader(io.StringIO(tables.render(found, "csv"))))
    assert [line["kind"] for line in lines if line["file"]] == ["measured"]
    assert {line["kind"] for line in lines if not line["file"]} == {"published 2022, not measured"}


def test_the_published_figures_agree_with_themselves():
    """Throughput is events over epoch time, which reveals wrongly copied digits."""
    for published in (*talk.PUBLISHED_HARDWARE[:2], *talk.PUBLISHED_RUNS):
        for epoch_s, rate in zip(published.epoch_s, published.events_per_s, strict=True):
            assert epoch_s * rate == pytest.approx(1100, rel=0.003)


def test_an_emulated_run_is_marked():
    emulated = documents.report("e.json", changes=documents.TALK | {"run_info/is_emulated": True})

    for index in (0, 2):
        assert "emulated" in talk.view([emulated]).tables[index].rows[0][0]
