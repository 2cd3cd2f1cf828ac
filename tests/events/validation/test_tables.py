"""Tables show results in columns, with as many digits as the errors allow."""

import dataclasses

from mlpf_jax.events.validation import agreement, tables, verdicts
from mlpf_jax.events.validation import differences as comparison


def row(**fields):
    base = verdicts.Row(group="g", quantity="q_x", measured=100.0, error=0.5)
    return dataclasses.replace(base, **fields)


def test_a_row_shows_value_error_difference_band_and_verdict():
    text = tables.table(
        [row(published=97.0, published_error=0.25, band=verdicts.Band.RARE, known=1)]
    )
    (line,) = [line for line in text.splitlines() if "q x" in line]
    assert " ".join(line.split()) == "q x 100.00 +- 0.50 97.00 +- 0.25 +3.00 11.64 inside [1]"
    assert "[1] about 1 % more" in text


def test_unpublished_quantities_have_a_dash():
    (line,) = [line for line in tables.table([row()]).splitlines() if "q x" in line]
    assert line.split()[-2:] == ["0.50", "-"]


def test_verdicts_are_counted():
    rows = [row(), row(published=100.0), row(published=50.0)]
    assert tables.count(rows) == (
        "2 quantities have a reference: 1 inside their band, 1 outside, 0 need more events; "
        "1 have no reference."
    )


def test_a_real_table_fits_into_its_width(qcd):
    text = tables.table(agreement.judge(qcd))
    assert max(map(len, text.splitlines())) <= 130


def test_the_table_of_differences_counts_them(qcd, ttbar):
    differences = comparison.compare(qcd, ttbar)
    text = tables.difference_table(differences)
    assert len(text.splitlines()) == len(differences) + 3
    num = sum(d.is_significant for d in differences)
    assert text.endswith(f"{num} of {len(differences)} quantities differ (p below 0.001).")
    assert text.count(" differs") == num


def test_the_explanation_names_the_sources():
    text = tables.explanation()
    assert "arXiv:2101.08578" in text
    assert "12 %" in text
