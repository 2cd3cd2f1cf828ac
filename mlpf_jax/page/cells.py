"""The format of table cells: numbers, footnotes and line breaks."""

import re

from mlpf_jax.render import tables

_NUMBER = re.compile(r"[-+\u2212]?\d|[-\u2013]?$|unbounded|unknown|refused|baseline|too few")
_MARKS = re.compile(r"((?: \[\d+\])+)$")
_SHORT = 24  # cells with up to so many characters are not wrapped
_WORDS = ("faster", "slower", "refused", "baseline")


def numeric_columns(table: tables.Table) -> list[bool]:
    """Returns for each column whether all its cells are numbers or explain a missing number."""
    columns = zip(*table.rows, strict=True) if table.rows else [()] * len(table.columns)
    return [all(_NUMBER.match(text) for text in column) and any(column) for column in columns]


def cell(text: str) -> tuple[str, list[str]]:
    """Returns a cell without its trailing footnote marks, and the numbers of the footnotes."""
    marks = _MARKS.search(text)
    if marks is None:
        return "\u2013" if text == "-" else text, []
    return text[: marks.start()], re.findall(r"\d+", marks[1])


def style_of(text: str, is_number: bool) -> str:
    """Returns the CSS classes of a cell: alignment, wrapping and verdict."""
    classes = ["number"] if is_number else []
    if len(text) <= _SHORT:
        classes.append("short")
    if text in _WORDS:
        classes.append(text)
    return " ".join(classes)
