"""Hostile text cannot control a terminal, inject markup or be a spreadsheet formula."""

import csv
import io
import re
import unicodedata

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mlpf_jax.render import escaping

HOSTILE = st.text() | st.text("\x1b[]\x9b\x07;m0134|<>&`@=+-*_\\\r\n\t\u202e\ud800 ax", max_size=60)


@given(HOSTILE)
@example("\x1b]0;title\x07after")
@example("\x1b\x1b[31m[31m")
def test_clean_text_is_one_line_of_visible_characters(text):
    clean = escaping.clean(text)

    assert not {unicodedata.category(c) for c in clean} & {"Cc", "Cf", "Cs", "Zl", "Zp"}
    assert escaping.clean(clean) == clean


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("\x1b[1;31mred\x1b[0m", "red"),
        ("\x9b31mred", "red"),
        ("a\x1b]0;new title\x07b", "ab"),
        ("a\x1b]8;;http://x\x1b\\link", "alink"),
        ("two\nlines", "two lines"),
        ("gpu\u202eevil", "gpuevil"),
        ("AMD EPYC 7742, 5 \u00b5s", "AMD EPYC 7742, 5 \u00b5s"),
    ],
)
def test_sequences_go_as_a_whole_and_plain_text_stays(text, left):
    assert escaping.clean(text) == left


def test_an_endless_name_is_cut_and_says_so():
    cut = escaping.clean("x" * 10**6)

    assert len(cut) == 2000
    assert cut.endswith("x ...")
    assert escaping.clean(cut) == cut


@given(HOSTILE)
def test_markdown_has_no_sign_left_that_means_something(text):
    escaped = escaping.markdown(text)

    assert not re.search(r"[<>]|&(?!lt;|gt;|amp;)", escaped)
    without_pairs = re.sub(r"\\[^a-zA-Z0-9\s]", "", escaped)
    assert not re.search(r"[\\`*_{}\[\]()#|~!$]", without_pairs)
    assert not re.search(r"@\w|://\w", escaped)


@given(HOSTILE)
@example("=cmd|' /C calc'!A0")
@example(" \t@SUM(1)")
def test_no_cell_of_csv_is_a_formula(text):
    cell = escaping.csv_cell(text)

    line = io.StringIO()
    csv.writer(line).writerow([cell])
    assert next(csv.reader([line.getvalue()])) == [cell]
    assert not cell.lstrip().startswith(("=", "+", "-", "@"))
