"""How a cell of a table is shown: what is a number, what carries footnotes, what may be broken."""

import re

from mlpf_jax.render import tables

_NUMBER = re.compile(r"[-+\u2212]?\d|[-\u2013]?$|unbounded|refused|baseline|too few")
_MARKS = re.compile(r"((?: \[\d+\])+)$")
_SHORT = 24  # letters of a cell that is not broken into lines
_WORDS = ("faster", "slower", "refused", "baseline")


def numeric_columns(table: tables.Table) -> list[bool]:
    """Returns for each column whether all its cells are numbers, or say why there is none."""
    columns = zip(*table.rows, strict=True) if table.rows else [()] * len(table.columns)
    return [all(_NUMBER.match(text) for text in column) and any(column) for column in columns]


def cell(text: str) -> tuple[str, list[str]]:
    """Returns a cell without the footnote marks at its end, and their numbers."""
    marks = _MARKS.search(text)
    if marks is None:
        return "\u2013" if text == "-" else text, []
    return text[: marks.start()], re.findall(r"\d+", marks[1])


def style_of(text: str, is_number: bool) -> str:
    """Returns the classes of a cell: where it stands, whether it may be broken, its verdict."""
    classes = ["number"] if is_number else []
    if len(text) <= _SHORT:
        classes.append("short")
    if text in _WORDS:
        classes.append(text)
    return " ".join(classes)
