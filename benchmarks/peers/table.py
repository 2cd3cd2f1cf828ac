"""The comparison as a table for the terminal."""

import sys

import rich.console
import rich.table

from benchmarks.peers import comparing
from benchmarks.peers import contender as contender_lib
from mlpf_jax.stats import comparison


def show(result: comparing.Comparison, title: str) -> None:
    """Prints one table per phase, with notes."""
    console = rich.console.Console(highlight=False, width=None if sys.stdout.isatty() else 130)
    for phase in comparing.PHASES:
        table = rich.table.Table(title=f"{phase}, {title}", title_justify="left")
        table.add_column("contender", no_wrap=True)
        for heading in ("events/s", "95 % interval", "ours to it", "95 % interval"):
            table.add_column(heading, justify="right")
        for heading in ("sets", "disturbed", "first call s", "peak GB"):
            table.add_column(heading, justify="right")
        for name, cell in result.cells[phase].items():
            table.add_row(name, *_row(cell, result.ratios[phase].get(name)))
        console.print(table)
        best = result.best_ratio(phase)
        console.print(
            f"{phase}: ours to the best peer, {result.best_peer[phase]}: {best.value:.3f} "
            f"{_interval(best.low, best.high)}\n"
        )
    console.print(
        "sets: of processes that were alive together, each counted once. disturbed: windows "
        "during\nCPU use by others. first call: of every process, including compilation, with "
        "empty caches at first."
    )


def _row(cell: comparing.Cell, ratio: comparison.Ratio | None) -> list[str]:
    return [
        f"{cell.events_per_s:.3f}",
        _interval(*cell.interval),
        "" if ratio is None else f"{ratio.value:.3f}",
        "" if ratio is None else _interval(ratio.low, ratio.high),
        f"{len(cell.set_rates)}",
        f"{'?' if cell.num_disturbed is None else cell.num_disturbed}/{cell.num_windows}",
        " ".join(f"{seconds:.1f}" for seconds in cell.first_call_s),
        f"{cell.peak_bytes / 1e9:.2f}",
    ]


def _interval(low: float, high: float) -> str:
    return f"[{low:.3f}, {high:.3f}]"


def title_of(batch: int, num_elements: int, precision: str, place: str) -> str:
    """Returns the common title of both tables."""
    return (
        f"batch {batch} x {num_elements} elements, {precision}, {place}, "
        f"{contender_lib.OURS} is ours"
    )
