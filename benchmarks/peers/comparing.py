"""Computes the comparison from sets of contenders: rates, ratios of ours to peers, intervals.

No processes, files or clocks.
"""

import dataclasses
import math
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks.peers import contender as contender_lib
from mlpf_jax import config as config_lib
from mlpf_jax.sides import driver
from mlpf_jax.stats import comparison, summaries

PHASES = ("training", "inference")
# When to ask whether all signs are known, by the number of sets, and the level of each two-sided
# signed-rank test: together below 5 %.
LOOKS: Mapping[int, float] = {6: 1 / 32, 8: 1 / 128, 12: 1 / 256, 16: 1 / 256}
# Relative, for equal events and weights. Rounded products put some elements into other bins.
_MOST_DIFFERENT_LOSS = {"float32": 1e-3, "tf32": 1e-2, "bf16": 5e-2}

# For each group that was alive together, of ours and others: phase -> windows.
Set = Sequence[Mapping[str, driver.Turns]]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Cell:
    """One contender in one phase."""

    events_per_s: float  # median over the sets
    interval: tuple[float, float]
    set_rates: tuple[float, ...]  # of every set the median of its windows
    num_windows: int
    num_disturbed: int | None  # windows during CPU use by others, if known; they count
    first_call_s: tuple[float, ...]  # of every process, including compilation
    # Of the GPU, or on a CPU of the process, after the first call; the inference's came first.
    peak_bytes: int


@dataclasses.dataclass(frozen=True, kw_only=True)
class Comparison:
    """All measured contenders, and the ratios of ours to the others."""

    cells: Mapping[str, Mapping[str, Cell]]  # phase -> contender -> cell
    # phase -> another contender -> ours over its rate
    ratios: Mapping[str, Mapping[str, comparison.Ratio]]
    best_peer: Mapping[str, str]  # phase -> the fastest

    def best_ratio(self, phase: str) -> comparison.Ratio:
        """Returns the ratio of ours to the fastest peer."""
        return self.ratios[phase][self.best_peer[phase]]


def ratios_of(sets: Sequence[Set]) -> dict[str, dict[str, comparison.Ratio]]:
    """Returns phase -> another contender -> the ratio of our rate to its rate.

    A set counts once, by the median of the ratios of neighbouring windows. Contenders that are
    missing in a set are left out.
    """
    names = [name for name in _others(sets[-1]) if all(name in _others(one) for one in sets)]
    return {phase: {name: _ratio_to(name, phase, sets) for name in names} for phase in PHASES}


def _others(one: Set) -> list[str]:
    windows = [name for group in one for name in group[PHASES[0]].windows]
    return [name for name in windows if name != contender_lib.OURS]


def _ratio_to(name: str, phase: str, sets: Sequence[Set]) -> comparison.Ratio:
    turns = [next(group[phase] for group in one if name in group[phase].windows) for one in sets]
    ratios = [math.exp(turn.slowdown(contender_lib.OURS, name)) for turn in turns]
    return comparison.paired_ratio([1.0] * len(ratios), ratios)


def is_enough(sets: Sequence[Set]) -> bool:
    """Whether the sign of every ratio is known at 95 %; asked after every set, known at LOOKS."""
    level = LOOKS.get(len(sets), 0.0)
    found = ratios_of(sets)
    return all(ratio.p_value <= level for of_phase in found.values() for ratio in of_phase.values())


def compare(
    starts: Sequence[Mapping[str, Any]],
    sets: Sequence[Set],
    batch: int,
    num_cores: int,
    *,
    precision: config_lib.Precision = "float32",
    on_cpu: bool = True,
) -> Comparison:
    """Compares sets of steps of `batch` events.

    `starts` are what the processes said when they were ready.

    Raises:
        ValueError: if ours or every peer is missing, or losses differ.
    """
    _check_losses(starts, _MOST_DIFFERENT_LOSS[precision])
    ratios = ratios_of(sets) if sets else {}
    peers = [name for name in ratios.get(PHASES[0], ()) if name in contender_lib.PEERS]
    if not peers:
        names = ", ".join(dict.fromkeys(start["name"] for start in starts)) or "none"
        raise ValueError(f"nothing to compare: measured are {names}.")

    def cell(phase: str, name: str) -> Cell:
        theirs = [one[phase] for one in starts if one["name"] == name]
        taken = [_windows(one, phase, name) for one in sets]
        return _cell(theirs, taken, batch, num_cores, on_cpu=on_cpu)

    names = [contender_lib.OURS, *ratios[PHASES[0]]]
    cells = {phase: {name: cell(phase, name) for name in names} for phase in PHASES}
    best = {phase: max(peers, key=lambda p: cells[phase][p].events_per_s) for phase in PHASES}
    return Comparison(cells=cells, ratios=ratios, best_peer=best)


def _windows(one: Set, phase: str, name: str) -> list[tuple[int, driver.Window]]:
    """Returns a contender's windows in a set, with their steps."""
    return [
        (group[phase].steps, window)
        for group in one
        for window in group[phase].windows.get(name, ())
    ]


def _cell(
    starts: Sequence[Mapping[str, Any]],
    sets: Sequence[Sequence[tuple[int, driver.Window]]],
    batch: int,
    num_cores: int,
    *,
    on_cpu: bool,
) -> Cell:
    rates = [
        statistics.median(batch * steps / window.seconds for steps, window in taken)
        for taken in sets
    ]
    windows = [[window for _, window in taken] for taken in sets]
    summary = summaries.summarize(rates)
    return Cell(
        events_per_s=summary.median,
        interval=(summary.interval_low, summary.interval_high),
        set_rates=tuple(rates),
        num_windows=sum(map(len, windows)),
        num_disturbed=driver.num_disturbed(windows, num_cores, on_cpu=on_cpu),
        first_call_s=tuple(start["first_call_s"] for start in starts),
        peak_bytes=max(start["peak_bytes"] for start in starts),
    )


def _check_losses(starts: Sequence[Mapping[str, Any]], most: float) -> None:
    """All have the same weights and events, so their first losses must agree."""
    ours = [start for start in starts if start["name"] == contender_lib.OURS]
    for start in starts if ours else ():
        for phase in PHASES:
            expected = ours[0][phase]["first_losses"]["total"]
            found = start[phase]["first_losses"]["total"]
            if not math.isclose(found, expected, rel_tol=most):
                raise ValueError(
                    f"{start['name']} does not compute the same: its first {phase} loss is "
                    f"{found:.6g}, ours is {expected:.6g}."
                )


def document(result: Comparison) -> dict[str, Any]:
    """Returns the comparison for JSON; unbounded ends of intervals are null."""
    best = {phase: result.best_ratio(phase) for phase in PHASES}
    return {
        "ratio_to_best_peer": {phase: ratio.value for phase, ratio in best.items()},
        "ratio_to_best_peer_interval": {phase: _interval(ratio) for phase, ratio in best.items()},
        "best_peer": dict(result.best_peer),
        "contenders": {
            phase: {
                name: dataclasses.asdict(cell)
                | ({"ratio_of_ours": _ratio(others[name])} if name in others else {})
                for name, cell in result.cells[phase].items()
            }
            for phase, others in result.ratios.items()
        },
    }


def _ratio(ratio: comparison.Ratio) -> dict[str, Any]:
    return {"value": ratio.value, "interval": _interval(ratio)}


def _interval(ratio: comparison.Ratio) -> list[float | None]:
    return [ratio.low or None, ratio.high if math.isfinite(ratio.high) else None]
