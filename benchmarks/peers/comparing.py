"""Computes the comparison from records of processes: rates, ratios of ours to peers, intervals.

No processes, files or clocks.
"""

import dataclasses
import math
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks.peers import contender as contender_lib
from mlpf_jax import config as config_lib
from mlpf_jax.measure import load, trust
from mlpf_jax.stats import comparison, summaries

PHASES = ("training", "inference")
_FEWEST_UNDISTURBED = (
    3  # of a contender; with fewer the disturbed ones are taken too, and it says so
)
# Relative, for equal events and weights. Rounded products put some elements into other bins.
_MOST_DIFFERENT_LOSS = {"float32": 1e-3, "tf32": 1e-2, "bf16": 5e-2}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Cell:
    """One contender in one phase, over all rounds."""

    events_per_s: float  # median
    interval: tuple[float, float]
    rates: tuple[float, ...]  # of the samples used, in order
    round_rates: tuple[float | None, ...]  # of every process the median; None without such samples
    num_disturbed: int  # samples during CPU use by others: excluded
    num_warm_up: int  # samples before the steady state, by the benchmark's rule: excluded
    is_disturbed: bool  # too few undisturbed samples, so disturbed ones are included
    first_call_s: tuple[float, ...]  # of every round, including compilation
    # Of the GPU, or on a CPU of the process, until the phase ended; the inference's came first.
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


def compare(
    runs: Sequence[Mapping[str, Any]],
    batch: int,
    num_cores: int,
    *,
    precision: config_lib.Precision = "float32",
    on_cpu: bool = True,
) -> Comparison:
    """Compares the drivers' records, in the order of the runs, of steps of `batch` events.

    Raises:
        ValueError: if ours or every peer is missing, or losses differ.
    """
    names = [name for name in contender_lib.ENTRIES if any(run["name"] == name for run in runs)]
    peers = [name for name in names if name in contender_lib.PEERS]
    if contender_lib.OURS not in names or not peers:
        raise ValueError(f"nothing to compare: measured are {', '.join(names) or 'none'}.")
    _check_losses(runs, _MOST_DIFFERENT_LOSS[precision])
    cells = {
        phase: {
            name: _cell(
                [run[phase] for run in runs if run["name"] == name], batch, num_cores, on_cpu=on_cpu
            )
            for name in names
        }
        for phase in PHASES
    }
    ratios = {
        phase: {
            name: _ours_to(of_phase[name], of_phase[contender_lib.OURS])
            for name in names
            if name != contender_lib.OURS
        }
        for phase, of_phase in cells.items()
    }
    best = {phase: max(peers, key=lambda p: cells[phase][p].events_per_s) for phase in PHASES}
    return Comparison(cells=cells, ratios=ratios, best_peer=best)


def _ours_to(other: Cell, ours: Cell) -> comparison.Ratio:
    """Compares by rounds if there are enough for a test, so that a drift of the machine cancels.

    With fewer rounds, compares processes as independent; with even fewer, single samples.
    """
    rounds = zip(other.round_rates, ours.round_rates, strict=False)  # one may have failed early
    pairs = [(theirs, own) for theirs, own in rounds if theirs is not None and own is not None]
    if comparison.are_enough_pairs(len(pairs)):
        return comparison.paired_ratio(*zip(*pairs, strict=True))
    sides = [[rate for rate in cell.round_rates if rate is not None] for cell in (other, ours)]
    if comparison.are_enough_processes(*map(len, sides)):
        return comparison.independent_ratio(*sides, correlated=False)
    return comparison.independent_ratio(other.rates, ours.rates)


def _cell(phases: Sequence[Mapping[str, Any]], batch: int, num_cores: int, *, on_cpu: bool) -> Cell:
    steady = [_steady(phase["samples"]) for phase in phases]
    calm = [
        [one for one in of_round if not disturbances(one, num_cores, on_cpu=on_cpu)]
        for of_round in steady
    ]
    num_steady, num_calm = (sum(map(len, kept)) for kept in (steady, calm))
    is_disturbed = num_calm < _FEWEST_UNDISTURBED
    rounds = [
        [batch * one["num_steps"] / one["seconds"] for one in of_round]
        for of_round in (steady if is_disturbed else calm)
    ]
    rates = [rate for of_round in rounds for rate in of_round]
    summary = summaries.summarize(rates)
    return Cell(
        events_per_s=summary.median,
        interval=(summary.interval_low, summary.interval_high),
        rates=tuple(rates),
        round_rates=tuple(statistics.median(each) if each else None for each in rounds),
        num_disturbed=num_steady - num_calm,
        num_warm_up=sum(len(phase["samples"]) for phase in phases) - num_steady,
        is_disturbed=is_disturbed,
        first_call_s=tuple(phase["first_call_s"] for phase in phases),
        peak_bytes=max(phase["peak_bytes"] for phase in phases),
    )


def _steady(samples: Sequence[Mapping[str, Any]]) -> Sequence[Mapping[str, Any]]:
    return samples[summaries.steady_start([one["seconds"] / one["num_steps"] for one in samples]) :]


def disturbances(sample: Mapping[str, Any], num_cores: int, *, on_cpu: bool = True) -> list[str]:
    """Returns descriptions of disturbances during a sample; empty if there were none."""
    meanwhile = None if sample["load"] is None else load.Load(**sample["load"])
    return trust.in_load(meanwhile, num_cores, on_cpu=on_cpu)


def _check_losses(runs: Sequence[Mapping[str, Any]], most: float) -> None:
    """All have the same weights and events, so their first losses must agree."""
    ours = next(run for run in runs if run["name"] == contender_lib.OURS)
    for run in runs:
        for phase in PHASES:
            expected = ours[phase]["first_losses"]["total"]
            found = run[phase]["first_losses"]["total"]
            if not math.isclose(found, expected, rel_tol=most):
                raise ValueError(
                    f"{run['name']} does not compute the same: its first {phase} loss is "
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
