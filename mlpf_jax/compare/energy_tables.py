"""The tables of energy and cost of a comparison."""

from collections.abc import Callable, Mapping, Sequence

from mlpf_jax.compare import ratios
from mlpf_jax.render import tables

_DIGITS = 3
_Cell = Callable[[ratios.Row, str, ratios.PhaseColumn], str]
_ENERGY: Mapping[str, _Cell] = {
    "events/J": lambda row, name, phase: tables.number(phase.events_per_j, _DIGITS),
    "interval": lambda row, name, phase: ends(phase.events_per_j_low, phase.events_per_j_high),
    "net events/J": lambda row, name, phase: tables.number(phase.net_events_per_j, _DIGITS),
    "net interval": lambda row, name, phase: ends(
        phase.net_events_per_j_low, phase.net_events_per_j_high
    ),
    "energy of": lambda row, name, phase: phase.energy_scope or "-",
}
_COST: Mapping[str, _Cell] = {
    "per million events": lambda row, name, phase: _money(row, phase.cost_per_million_events),
    "interval": lambda row, name, phase: ends(
        phase.cost_per_million_events_low, phase.cost_per_million_events_high
    ),
    "whole training": lambda row, name, phase: (
        _money(row, row.training_cost) if name == "training" else "-"
    ),
    "interval of training": lambda row, name, phase: (
        ends(row.training_cost_low, row.training_cost_high) if name == "training" else "-"
    ),
}


def found(rows: Sequence[ratios.Row]) -> tuple[tables.Table, ...]:
    """Returns the tables in which anything is known."""
    both = (_table("Energy", _ENERGY, rows), _table("Cost", _COST, rows))
    return tuple(table for table in both if table is not None)


def ends(low: float | None, high: float | None) -> str:
    """Formats an interval, or a dash if it is unknown. An end of 0 is a measured one."""
    if low is None or high is None:
        return "-"
    return f"{tables.number(low, _DIGITS)} to {tables.number(high, _DIGITS)}"


def _table(
    title: str, cells: Mapping[str, _Cell], rows: Sequence[ratios.Row]
) -> tables.Table | None:
    """Returns the table without the columns that have no value."""
    there = [(row, name, phase) for row in rows for name, phase in row.phases.items()]
    columns = {
        heading: cell for heading, cell in cells.items() if any(cell(*one) != "-" for one in there)
    }
    if not columns:
        return None
    return tables.Table(
        title=title,
        columns=("", "phase", *columns),
        rows=tuple(
            (row.label, name, *(cell(row, name, phase) for cell in columns.values()))
            for row, name, phase in there
        ),
    )


def _money(row: ratios.Row, value: float | None) -> str:
    if value is None:
        return "-"
    return f"{tables.number(value, _DIGITS)} {row.currency or ''}".strip()
