"""Renders tables for a terminal, Markdown, CSV and JSON, with escaped text."""

import csv
import dataclasses
import io
import json
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any, Literal, get_args

import rich.box
import rich.console
import rich.table
import rich.text

from mlpf_jax.render import escaping

Format = Literal["terminal", "markdown", "csv", "json"]
FORMATS: tuple[Format, ...] = get_args(Format)
Record = Mapping[str, str | float | bool | None]  # a line of CSV
_NUMBER = re.compile(r"\d|-?$")
_WIDE, _SHORT = 110, 24  # terminals this wide need not fold cells this short
_REFERENCE = "dim italic"
_STYLES = {"faster": "green", "slower": "red"}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Table:
    """One table of text. Columns with only numbers, or missing ones, are right-aligned."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    is_reference: bool = False  # its values were not measured by this program


@dataclasses.dataclass(frozen=True, kw_only=True)
class View:
    """The output of a program: tables and notes for people, records and a document for programs."""

    tables: tuple[Table, ...]
    notes: tuple[str, ...]
    records: tuple[Record, ...]
    document: Mapping[str, Any]


def render(view: View, wanted: Format, *, width: int = 120, colour: bool = False) -> str:
    """Renders the view as text that ends in a newline. `width` and `colour` are for a terminal."""
    if wanted == "terminal":
        return _terminal(view, width, colour)
    if wanted == "markdown":
        return _markdown(view)
    return _csv(view.records) if wanted == "csv" else _json(view.document)


def number(value: float | None, digits: int = 4) -> str:
    """Formats a number with `digits` digits, large ones without an exponent; `-` for None."""
    if value is None:
        return "-"
    return f"{value:.{digits}g}" if abs(value) < 10**digits - 0.5 else f"{value:.0f}"


def count(number: int, word: str, several: str = "") -> str:
    """Returns the number and the word, which is in the plural unless the number is 1."""
    return f"{number} {word if number == 1 else several or word + 's'}"


def interval(low: float, high: float, digits: int = 4) -> str:
    """Formats an interval of positive numbers, which may be unbounded."""
    if not low or math.isinf(high):
        return "unbounded"
    return f"{number(low, digits)} to {number(high, digits)}"


def _terminal(view: View, width: int, colour: bool) -> str:
    console = rich.console.Console(
        file=io.StringIO(),
        width=width,
        force_terminal=colour,
        color_system="standard" if colour else None,
        highlight=False,
    )
    with console.capture() as capture:
        for table in view.tables:
            style = _REFERENCE if table.is_reference else "bold"
            console.print(rich.text.Text(escaping.clean(table.title), style=style))
            console.print(_rich(table, whole=width >= _WIDE))
        for note in view.notes:
            console.print(rich.text.Text(escaping.clean(note)))
    lines = capture.get().splitlines()
    return "\n".join(line.rstrip() for line in lines) + "\n"


def _rich(table: Table, *, whole: bool) -> rich.table.Table:
    style = _REFERENCE if table.is_reference else ""
    shown = rich.table.Table(box=rich.box.SIMPLE_HEAD, style=style)
    for i, (heading, of_numbers) in enumerate(zip(table.columns, _of_numbers(table), strict=True)):
        longest = max((len(row[i]) for row in table.rows), default=0)
        shown.add_column(
            escaping.clean(heading),
            style=style,
            overflow="fold",
            justify="right" if of_numbers else "left",
            no_wrap=whole and longest <= _SHORT,
        )
    for row in table.rows:
        cells = [escaping.clean(cell) for cell in row]
        shown.add_row(*(rich.text.Text(cell, style=_style(cell)) for cell in cells))
    return shown


def _of_numbers(table: Table) -> list[bool]:
    cells = zip(*table.rows, strict=True) if table.rows else [()] * len(table.columns)
    return [all(_NUMBER.match(cell) for cell in column) for column in cells]


def _style(cell: str) -> str:
    return _STYLES.get(cell.partition(" ")[0], "")


def _markdown(view: View) -> str:
    parts = []
    for table in view.tables:
        lines = [[escaping.markdown(cell) for cell in row] for row in (table.columns, *table.rows)]
        lines.insert(1, ["---:" if of_numbers else "---" for of_numbers in _of_numbers(table)])
        text = "\n".join(f"| {' | '.join(line)} |" for line in lines)
        parts.append(f"**{escaping.markdown(table.title)}**\n\n{text}")
    parts += [escaping.markdown(note) for note in view.notes]
    return "\n\n".join(parts) + "\n"


def _csv(records: Sequence[Record]) -> str:
    names = list(dict.fromkeys(name for record in records for name in record))
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([escaping.csv_cell(name) for name in names])
    for record in records:
        cells = (record.get(name) for name in names)
        writer.writerow([escaping.csv_cell(c) if isinstance(c, str) else c for c in cells])
    return text.getvalue()


def _json(document: Mapping[str, Any]) -> str:
    return json.dumps(finite(document), indent=2, allow_nan=False) + "\n"


def finite(value: Any) -> Any:
    """Returns a document with null in place of infinity and NaN, which JSON cannot represent."""
    if isinstance(value, Mapping):
        return {escaping.clean(str(name)): finite(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [finite(inner) for inner in value]
    if isinstance(value, str):
        return escaping.clean(value)
    return None if isinstance(value, float) and not math.isfinite(value) else value
