"""Shows a sweep as a table for each phase, with its Pareto front."""

from collections.abc import Iterator, Sequence

from mlpf_jax.render import tables
from mlpf_jax.stats import scaling_laws
from mlpf_jax.study import documents, engine, findings, formats, runs
from mlpf_jax.study import trade_offs as trade_offs_lib
from mlpf_jax.study.scaling import notes


def view(found: findings.Findings, axes: Sequence[engine.Axis]) -> tables.View:
    """Returns a view of the sweep along these axes."""
    shown = [_table(found, axes, phase) for phase in runs.PHASES]
    told = [*_notes(found), *notes.notes(found)]
    return documents.view(found, [table for table in shown if table], told)


def _table(
    found: findings.Findings, axes: Sequence[engine.Axis], phase: str
) -> tables.Table | None:
    """Returns the table of a phase; None if no point has it."""
    quantities = trade_offs_lib.known(found.trade_offs, phase)
    if not quantities:
        return None
    columns = ["point", *(axis.label for axis in axes), *(_heading(found, q) for q in quantities)]
    rows = []
    for row, result in zip(found.trade_offs, found.results, strict=True):
        values = [_value(row, phase, quantity) for quantity in quantities]
        cells = [str(row.number), *(str(result.point.get(axis.name)) for axis in axes), *values]
        cells += [_accuracy(result)] if phase == "training" else []
        rows.append((*cells, "yes" if phase in row.fronts else "", result.remarks))
    columns += ["accuracy"] if phase == "training" else []
    return tables.Table(
        title=f"Sweep, {phase}", columns=(*columns, "front", "remarks"), rows=tuple(rows)
    )


def _value(row: trade_offs_lib.Row, phase: str, quantity: trade_offs_lib.Quantity) -> str:
    """Formats a quantity; that of cost needs no interval beside that of the speed."""
    found = row.value(phase, quantity)
    if found is None or quantity is not trade_offs_lib.COST:
        return formats.rate(found)
    return tables.number(found.value)


def _heading(found: findings.Findings, quantity: trade_offs_lib.Quantity) -> str:
    if quantity is not trade_offs_lib.COST:
        return quantity.unit
    currencies = {run.currency for result in found.results for run in result.runs.values()}
    return f"{' '.join(filter(None, currencies)) or 'cost'} per million"


def _accuracy(result: runs.PointResult) -> str:
    values = [run.accuracy for run in result.runs.values() if run.accuracy is not None]
    return f"{scaling_laws.mean_of_fractions(values).value:.4f}" if values else "-"


def _notes(found: findings.Findings) -> Iterator[str]:
    """Yields how to read the front."""
    for phase in runs.PHASES:
        quantities = trade_offs_lib.known(found.trade_offs, phase)
        best = [str(row.number) for row in found.trade_offs if phase in row.fronts]
        if not best:
            continue
        has_energy = trade_offs_lib.EVENTS_PER_J in quantities
        meaning = (
            "no other point is both as fast and as economical"
            if has_energy
            else "the fastest point, because the energy of some points is unknown"
        )
        yield f"Pareto front of {phase}: {', '.join(best)}; {meaning}."
    yield (
        "The front is of the means: points whose intervals overlap may change places. Another "
        "precision, padding or batch is other work, and may learn less: see the accuracy."
    )
