"""One view in four formats, which remain valid for any content."""

import csv
import io
import json
import math

import pytest

from mlpf_jax.render import tables

NAME = "=1+1 [bold]|\x1b[31m<b>"
VIEW = tables.View(
    tables=(
        tables.Table(title="Runs", columns=("file", "s"), rows=((NAME, "1.5"), ("b", "-"))),
        tables.Table(title="Known", columns=("s",), rows=(("2",),), is_reference=True),
    ),
    notes=("[1] a note",),
    records=({"file": NAME, "s": 1.5}, {"file": "b", "more": -2.0, "none": None}),
    document={"file": NAME, "low": -math.inf, "values": (1.5, math.nan)},
)


def test_a_terminal_shows_markup_as_it_is_and_gets_no_command():
    shown = tables.render(VIEW, "terminal")

    assert "=1+1 [bold]|<b>" in shown
    assert "\x1b" not in shown
    assert "[1] a note" in shown
    assert "\x1b" in tables.render(VIEW, "terminal", colour=True)


@pytest.mark.parametrize("width", [20, 80, 200])
def test_a_terminal_loses_no_digit_however_narrow_it_is(width):
    values = tuple(f"{i}.{i}{i}{i}" for i in range(1, 8))
    table = tables.Table(title="t", columns=values, rows=(values,))

    shown = tables.render(
        tables.View(tables=(table,), notes=(), records=(), document={}), "terminal", width=width
    )

    assert "…" not in shown
    assert all(len(line) <= width for line in shown.splitlines())


def test_markdown_keeps_its_columns_and_sets_numbers_flush_right():
    lines = tables.render(VIEW, "markdown").splitlines()

    assert "| --- | ---: |" in lines
    row = next(line for line in lines if "1.5" in line)
    assert row == r"| =1+1 \[bold\]\|&lt;b&gt; | 1.5 |"


def test_csv_has_every_field_of_every_record_and_numbers_stay_numbers():
    rows = list(csv.DictReader(io.StringIO(tables.render(VIEW, "csv"))))

    assert rows[0] == {"file": "'=1+1 [bold]|<b>", "s": "1.5", "more": "", "none": ""}
    assert rows[1]["more"] == "-2.0"


def test_json_holds_no_number_that_json_does_not_know():
    found = json.loads(tables.render(VIEW, "json"), parse_constant=pytest.fail)

    assert found == {"file": "=1+1 [bold]|<b>", "low": None, "values": [1.5, None]}


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.65086, "0.6509"), (12345.6, "12346"), (3e-7, "3e-07"), (None, "-"), (9999.6, "10000")],
)
def test_numbers_have_four_digits(value, text):
    assert tables.number(value) == text


def test_an_unbounded_interval_is_reported():
    assert tables.interval(0.0, math.inf) == "unbounded"
    assert tables.interval(0.5, 0.75) == "0.5 to 0.75"
