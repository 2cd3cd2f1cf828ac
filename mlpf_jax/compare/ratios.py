"""Compares runs with a baseline: throughputs with intervals, ratios with verdicts.

The statistical unit is the run. If both sides have enough runs for a test to reject anything, the
medians of the runs are compared. Otherwise the samples are compared, and the variation between
processes, which samples of one process do not show, is added as an assumed noise.
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import numpy as np

from mlpf_jax.compare import comparability, runs
from mlpf_jax.report import facts, reader
from mlpf_jax.stats import comparison, summaries, turns

RUN_NOISE = 0.03  # relative, of a process's median; two to four per cent on shared machines
Basis = Literal["runs", "samples"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class PhaseColumn:
    """One phase of a row. Values are medians over several runs unless noted."""

    throughput: summaries.Summary  # events/s
    basis: Basis  # what the throughput's interval is computed from
    ratio: comparison.Ratio | None  # to the baseline; None: this is the baseline, or it was refused
    ratio_basis: Basis | None
    verdict: comparison.Verdict | None
    compile_s: float | None  # lowering and XLA; None: not measured
    first_call_s: float
    memory_bytes: int  # per device, as planned by the compiler; the largest
    flops_per_s: float
    peak_share: float | None
    # The ends are of the run's 95 % interval, of several runs the outermost.
    energy_scope: str | None  # what the energy was used by
    events_per_j: float | None
    events_per_j_low: float | None
    events_per_j_high: float | None
    net_events_per_j: float | None  # without the energy of the idle devices
    net_events_per_j_low: float | None
    net_events_per_j_high: float | None
    cost_per_million_events: float | None
    cost_per_million_events_low: float | None
    cost_per_million_events_high: float | None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Row:
    """One group of runs, compared with the baseline. Unknown values are None."""

    label: str  # A is the baseline
    group: runs.Group
    phases: Mapping[str, PhaseColumn]
    mean_epoch_s: float | None
    mean_throughput: float | None  # events/s over whole epochs
    training_cost: float | None  # of all epochs; the ends are the outermost of the runs
    training_cost_low: float | None
    training_cost_high: float | None
    currency: str | None
    accuracies: tuple[float, ...]  # of every run
    peak_process_bytes: int | None
    own: tuple[comparability.Finding, ...]  # what readers must know about these runs
    against: tuple[comparability.Finding, ...]  # reasons against a ratio to the baseline
    explanation: str | None  # changes since the baseline; None: this is the baseline


@dataclasses.dataclass(frozen=True, kw_only=True)
class Comparison:
    """The rows, the baseline first."""

    rows: tuple[Row, ...]
    run_noise: float


def compare(groups: Sequence[runs.Group], *, run_noise: float = RUN_NOISE) -> Comparison:
    """Compares every group with the first."""
    rows = [_row(_label(i), group, groups[0], run_noise) for i, group in enumerate(groups)]
    return Comparison(rows=tuple(rows), run_noise=run_noise)


def refusals(found: Comparison) -> list[str]:
    """Returns the reasons for refused ratios to the baseline, each with its files."""
    return [
        f"{row.group.name} against {found.rows[0].group.name}: {finding.text}"
        for row in found.rows
        for finding in row.against
        if finding.severity == "refused"
    ]


def _label(number: int) -> str:
    """A to Z, then AA, as in spreadsheets."""
    more, letter = divmod(number, 26)
    return (_label(more - 1) if more else "") + chr(ord("A") + letter)


def _row(label: str, group: runs.Group, baseline: runs.Group, noise: float) -> Row:
    is_baseline = group is baseline
    against = () if is_baseline else _against(baseline, group)
    refused = {scope for f in against if f.severity == "refused" for scope in f.scopes}
    reports = group.reports
    costs = _costs(group)
    return Row(
        label=label,
        group=group,
        phases={
            name: _phase(name, group, None if is_baseline or name in refused else baseline, noise)
            for name in group.first.phases
        },
        mean_epoch_s=_median([r.stats.get("mean_epoch_time") for r in reports]),
        mean_throughput=_median([r.stats.get("mean_throughput") for r in reports]),
        **_with_ends("training", costs, "training_cost"),
        currency=costs[0].get("currency") if costs else None,
        accuracies=tuple(r.accuracy for r in reports if r.accuracy is not None),
        peak_process_bytes=_largest([r.stats["memory"].get("peak_process_bytes") for r in reports]),
        own=tuple(dict.fromkeys(f for report in reports for f in comparability.within(report))),
        against=against,
        explanation=None if is_baseline else facts.explain(baseline.first, group.first),
    )


def _against(baseline: runs.Group, group: runs.Group) -> tuple[comparability.Finding, ...]:
    """Reasons against a ratio: from the runs themselves, and from the times of the runs."""
    found = comparability.between(baseline.first, group.first)
    spans = [
        [turns.Span(r.stats["started_at"], r.stats["finished_at"]) for r in side.reports]
        for side in (baseline, group)
    ]
    is_elsewhere = baseline.first.machine_class != group.first.machine_class
    if is_elsewhere or not turns.are_apart(*spans):
        return found
    refused = {scope for f in found if f.severity == "refused" for scope in f.scopes}
    scopes = tuple(name for name in comparability.PHASES if name not in refused)
    text = "not taken in turns: changes of the machine between the two are part of the ratio"
    return (*found, comparability.Finding("marked", scopes, text)) if scopes else found


def _phase(
    name: str, group: runs.Group, baseline: runs.Group | None, run_noise: float
) -> PhaseColumn:
    phases = [report.phases[name] for report in group.reports]
    basis = _basis(group, group)
    ratio, ratio_basis = None, None
    if baseline is not None:
        ratio, ratio_basis = _ratio(name, baseline, group, run_noise)
    energies = _energies(phases)
    costs = [phase.cost or {} for phase in phases] if _costs(group) else []
    return PhaseColumn(
        throughput=summaries.summarize(_values(name, group, basis)),
        basis=basis,
        ratio=ratio,
        ratio_basis=ratio_basis,
        verdict=comparison.verdict(ratio) if ratio else None,
        compile_s=_median([phase.compile_times.total_s for phase in phases]),
        first_call_s=float(np.median([phase.first_call_s for phase in phases])),
        memory_bytes=max(phase.memory_bytes for phase in phases),
        flops_per_s=float(np.median([phase.flops_per_s for phase in phases])),
        peak_share=_median([phase.peak_share for phase in phases]),
        energy_scope=_scope(energies),
        **_with_ends("events_per_j", energies),
        **_with_ends("net_events_per_j", energies),
        **_with_ends("per_million_events", costs, "cost_per_million_events"),
    )


def _energies(phases: Sequence[reader.Phase]) -> list[Mapping[str, Any]]:
    """Returns the energies of all runs; none if one is unknown or they are of different parts."""
    found = [phase.energy for phase in phases if phase.energy]
    scopes = {energy.get("scope") for energy in found}
    return found if len(scopes) == 1 and len(found) == len(phases) else []


def _scope(energies: Sequence[Mapping[str, Any]]) -> str | None:
    """Returns what the energy was used by, and whether that was too short to be measured well."""
    scope = energies[0].get("scope") if energies else None
    is_short = any(energy.get("is_short") for energy in energies)
    return f"{scope}, too short for the counter" if scope and is_short else scope


def _basis(a: runs.Group, b: runs.Group) -> Basis:
    """Runs are the unit if a test of this many runs can reject the null hypothesis."""
    return "runs" if comparison.are_enough_processes(len(a.reports), len(b.reports)) else "samples"


def _values(name: str, group: runs.Group, basis: Basis) -> list[float]:
    phases = [report.phases[name] for report in group.reports]
    if basis == "runs":
        return [float(np.median(phase.rates)) for phase in phases]
    return [rate for phase in phases for rate in phase.rates]


def _ratio(
    name: str, baseline: runs.Group, group: runs.Group, run_noise: float
) -> tuple[comparison.Ratio, Basis]:
    basis = _basis(baseline, group)
    sides = [_values(name, side, basis) for side in (baseline, group)]
    if basis == "runs":
        return comparison.independent_ratio(*sides, correlated=False), basis
    # The noise of a mean of n processes is the noise of one over sqrt(n). The ratio assumes the
    # same noise on both sides.
    shares = [1 / len(side.reports) for side in (baseline, group)]
    noise = run_noise * (sum(shares) / 2) ** 0.5
    return comparison.independent_ratio(*sides, run_noise=noise), basis


def _median(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.median(known)) if known else None


def _costs(group: runs.Group) -> list[Mapping[str, Any]]:
    """Returns the costs of all runs; none if a price is unknown or they differ."""
    found = [report.cost for report in group.reports if report.cost is not None]
    prices = {(cost["price_per_hour"], cost["currency"]) for cost in found}
    return found if len(prices) == 1 and len(found) == len(group.reports) else []


def _with_ends(
    name: str, found: Sequence[Mapping[str, Any]], told: str | None = None
) -> dict[str, float | None]:
    """Returns the median of a figure over the runs with the outermost ends of its intervals.

    An end is unknown if that of one run is.
    """
    told = told or name
    known = [one for one in found if one.get(name) is not None]
    lows, highs = ([one.get(f"{name}_{end}") for one in known] for end in ("low", "high"))
    return {
        told: _median([one[name] for one in known]),
        f"{told}_low": _outermost(min, lows),
        f"{told}_high": _outermost(max, highs),
    }


def _outermost(choose: Callable[..., float], ends: Sequence[float | None]) -> float | None:
    known = [end for end in ends if end is not None]
    return choose(known) if known and len(known) == len(ends) else None


def _largest(values: Sequence[int | None]) -> int | None:
    return max((value for value in values if value is not None), default=None)
