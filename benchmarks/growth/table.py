"""Shows a growth study: a table of all sizes, the laws, and deviations from them."""

from collections.abc import Iterator, Sequence

from mlpf_jax.render import tables
from mlpf_jax.stats import power_laws
from mlpf_jax.study import documents, findings, runs
from mlpf_jax.study.scaling import notes

_CLIFF = 0.5  # largest excess of a local exponent over the law's


def view(found: findings.Findings) -> tables.View:
    """Returns a view of the study: a table and notes for people, values for programs."""
    (series,) = found.series
    columns = (
        *(series.kind.label, "training, events/s", "inference, events/s"),
        *("compile, s", "planned MB per event", "peak MB of the process"),
    )
    rows = tuple(_cells(series, row) for row in series.rows if row.result.runs)
    table = tables.Table(
        title=f"{series.kind.title} (of two numbers: training, inference)",
        columns=columns,
        rows=rows,
    )
    return documents.view(found, [table], list(_notes(series)))


def cliffs(series: findings.Series) -> list[str]:
    """Returns the places where a cost grows much faster between two sizes than by its law."""
    found = []
    for cost, by_phase in series.powers.items():
        for phase, law in by_phase.items():
            for x, local in power_laws.local_exponents(series.costs(cost, phase)).items():
                if local > law.exponent + _CLIFF:
                    found.append(
                        f"{cost}, {phase}: exponent {local:.2f} up to {x}, {law.exponent:.2f} by "
                        "the law"
                    )
    return found


def _cells(series: findings.Series, row: findings.Row) -> tuple[str, ...]:
    every = row.result.runs.values()
    rates = [_range([run.rates[p] for run in every if p in run.rates]) for p in runs.PHASES]
    compile_s = ", ".join(f"{found.value:.4g}" for found in row.compile_s.values())
    memory = ", ".join(f"{found.value / 1e6:.4g}" for found in row.event_bytes.values())
    peak = max((run.peak_process_bytes or 0 for run in every), default=0)
    return (str(row.x), *rates, compile_s, memory, f"{peak / 1e6:.4g}" if peak else "-")


def _range(values: Sequence[float]) -> str:
    """Returns the mean over runs, and minimum and maximum if there are several."""
    if not values:
        return "-"
    mean = f"{sum(values) / len(values):.4g}"
    return mean if len(values) == 1 else f"{mean} ({min(values):.4g} to {max(values):.4g})"


def _notes(series: findings.Series) -> Iterator[str]:
    if series.is_emulated:
        yield notes.EMULATED
    for cost, by_phase in series.powers.items():
        for phase, law in by_phase.items():
            worst = max(law.off, key=lambda x: abs(law.off[x]))
            yield (
                f"{cost}, {phase}: exponent {law.exponent:.3f} ({law.low:.3f} to "
                f"{law.high:.3f} at 95 %), farthest off at {worst}: {100 * law.off[worst]:+.2g} %"
            )
    yield from (f"cliff: {one}" for one in cliffs(series))
    for row in series.rows:
        if row.result.failure is not None:
            yield f"{row.x}: not measured: {row.result.failure}"
