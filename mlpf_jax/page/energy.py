"""Figures and tables of energy and cost, with what they are measured by."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from matplotlib import figure

from mlpf_jax.compare import comparability, energy_tables, ratios
from mlpf_jax.page import sheet
from mlpf_jax.render import tables

_ROW, _FRAME = 21.0, 44.0  # heights of a row and of the axis below, in points
_COLUMNS = (
    "",
    "phase",
    "energy of",
    "measured by",
    "J",
    "in s",
    "mean W",
    "idle W",
    "limit W",
    "events/J",
    "interval",
    "net events/J",
    "remark",
)


class _Bar(NamedTuple):
    """A value with its interval, in a row of a figure."""

    number: int  # of the row on the page
    label: str
    value: float
    low: float | None
    high: float | None


class _Shown(NamedTuple):
    """A figure of one value."""

    name: str
    title: str
    axis: str
    caption: str
    value: Callable[[ratios.PhaseColumn], tuple[float | None, float | None, float | None]]


_EVENTS_PER_J = _Shown(
    "energy",
    "Events per joule in",
    "events/J",
    "Point: real events of the steady state over the joules of exactly these samples. Bar: 95 % "
    "interval, where there are enough samples. Further right is more economical. Figures of "
    "different scopes are not comparable: see the table.",
    lambda c: (c.events_per_j, c.events_per_j_low, c.events_per_j_high),
)
_COST = _Shown(
    "cost",
    "Cost per million events in",
    "cost of a million events",
    "The price of the machine per hour, as it was given, over the events of an hour. Bar: by the "
    "95 % interval of the throughput. Further left is cheaper.",
    lambda c: (
        c.cost_per_million_events,
        c.cost_per_million_events_low,
        c.cost_per_million_events_high,
    ),
)


def plots(rows: Sequence[ratios.Row]) -> list[sheet.Plot]:
    """Returns figures of events per joule, and of costs if all are in one currency."""
    currencies = {
        row.currency
        for row in rows
        if any(column.cost_per_million_events is not None for column in row.phases.values())
    }
    kinds = [_EVENTS_PER_J]
    if len(currencies) == 1:
        (currency,) = currencies
        unit = f" In {currency}." if currency else ""
        kinds.append(_COST._replace(caption=_COST.caption + unit))
    return [
        _plot(kind, name, bars)
        for kind in kinds
        for name in comparability.PHASES
        if (bars := list(_bars(kind, name, rows)))
    ]


def table(rows: Sequence[ratios.Row]) -> tables.Table | None:
    """Returns the energies of each row's first run; None if none is known."""
    lines = [
        (row.label, name, *_cells(found))
        for row in rows
        for name, phase in row.group.first.phases.items()
        for found in (phase.energy, phase.host_energy)
        if found is not None
    ]
    if not lines:
        return None
    title = "Energy of the steady samples (first run of each row)"
    return tables.Table(title=title, columns=_COLUMNS, rows=tuple(lines))


def unknown(rows: Sequence[ratios.Row]) -> tuple[str, ...]:
    """Returns a line for each row whose devices' energy is unknown, with the reason."""
    found = [
        f"{row.label}: energy not known: {phase.energy_unknown}"
        for row in rows
        for phase in row.group.first.phases.values()
        if phase.energy_unknown
    ]
    return tuple(dict.fromkeys(found))


def _cells(found: Mapping[str, Any]) -> tuple[str, ...]:
    return (
        str(found.get("scope", "-")),
        str(found.get("source", "-")),
        *(
            tables.number(found.get(key))
            for key in ("joules", "window_s", "mean_power_w", "idle_w")
        ),
        _limits(found.get("power_limits_w") or ()),
        tables.number(found.get("events_per_j")),
        energy_tables.ends(found.get("events_per_j_low"), found.get("events_per_j_high")),
        tables.number(found.get("net_events_per_j")),
        _remark(found),
    )


def _remark(found: Mapping[str, Any]) -> str:
    remarks = []
    if found.get("is_short"):
        remarks.append("too short for this counter")
    if (sampled_j := found.get("sampled_j")) and found.get("joules"):
        apart = 100 * (sampled_j / found["joules"] - 1)
        remarks.append(f"sampled power: {apart:+.1f} %")
    return ", ".join(remarks) or "-"


def _limits(limits: Sequence[float | None]) -> str:
    texts = dict.fromkeys(tables.number(limit) for limit in limits)
    return ", ".join(texts) or "-"


def _bars(kind: _Shown, name: str, rows: Sequence[ratios.Row]) -> Iterator[_Bar]:
    for number, row in enumerate(rows):
        column = row.phases.get(name)
        value, low, high = kind.value(column) if column else (None, None, None)
        if value:
            yield _Bar(number, row.label, value, low, high)


def _plot(kind: _Shown, name: str, bars: Sequence[_Bar]) -> sheet.Plot:
    ends = [end for bar in bars for end in (bar.value, bar.low, bar.high) if end]
    log = sheet.is_wide(ends)

    def paint(picture: figure.Figure) -> None:
        ax = picture.subplots()
        sheet.scale(ax, "x", log=log, span=max(ends) / min(ends))
        for place, bar in enumerate(bars):
            tone = sheet.colour(bar.number)
            if bar.low is not None and bar.high is not None:
                ax.plot([bar.low, bar.high], [place] * 2, color=tone, linewidth=3.2)
            ax.plot(bar.value, place, sheet.marker(bar.number), color=tone, markersize=6)
            sheet.beside(ax, place, tables.number(bar.value))
        sheet.rows_down(ax, [(bar.label, sheet.colour(bar.number)) for bar in bars])
        ax.set_xlabel(kind.axis + (", logarithmic" if log else ""))

    told = "; ".join(
        f"{bar.label} {tables.number(bar.value)}, interval {energy_tables.ends(bar.low, bar.high)}"
        for bar in bars
    )
    return sheet.plot(
        f"{kind.name}-{name}",
        f"{kind.title} {name}",
        kind.caption,
        f"{told}.",
        paint,
        height=_FRAME + _ROW * max(len(bars), 2),
    )
