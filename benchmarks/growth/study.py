"""Runs the points of a plan, each run a process of its own, and gathers what they say."""

import dataclasses
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from benchmarks.growth import plan as plan_lib
from mlpf_jax.report import hepscore, reader
from mlpf_jax.stats import power_laws as laws
from mlpf_jax.study import running

PHASES = ("training", "inference")
COSTS = ("step time per event", "compile time", "memory per event")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Run:
    """One process at one size. Mappings are by phase."""

    value: int
    num_events: int  # per step, on all devices
    rates: dict[str, float]  # events/s of the steady state
    compile_s: dict[str, float]
    memory_bytes: dict[str, int]  # of all devices, as the compiler planned
    peak_process_bytes: int | None
    is_emulated: bool
    doubts: tuple[str, ...]

    def cost(self, name: str, phase: str) -> float:
        """Returns one of COSTS: seconds, seconds, bytes."""
        if name == COSTS[0]:
            return 1 / self.rates[phase]
        if name == COSTS[1]:
            return self.compile_s[phase]
        return self.memory_bytes[phase] / self.num_events


@dataclasses.dataclass(frozen=True)
class Findings:
    """All runs of a study, the laws, and the sizes that could not be measured, with the reason."""

    axis: str
    label: str
    values: tuple[int, ...]
    runs: tuple[Run, ...]
    failures: dict[int, str]
    laws: dict[str, dict[str, laws.Law]]  # by cost and phase; empty with fewer than three sizes

    def costs(self, name: str, phase: str) -> dict[int, list[float]]:
        """Returns a cost of all runs by size."""
        found: dict[int, list[float]] = {}
        for run in sorted(self.runs, key=lambda run: run.value):
            if phase in run.rates:
                found.setdefault(run.value, []).append(run.cost(name, phase))
        return found


def run(
    plan: plan_lib.Plan,
    tell: Callable[[str], None],
    runner: running.Runner = running.run_main,
    cache: Path | None = None,
) -> Findings:
    """Runs everything. A size that fails is told and left out of the rounds to come.

    Programs that are not measured are compiled once, into a folder that is removed or `cache`.

    Raises:
        RuntimeError: if no run ended well.
    """
    runs: list[Run] = []
    failures: dict[int, str] = {}
    with tempfile.TemporaryDirectory(prefix="mlpf-jax-growth-") as temporary:
        folder = Path(temporary)
        kept = cache or folder / "programs"
        for number, value in plan.order():
            if value in failures:
                continue
            place = folder / f"{value}-{number}"
            place.mkdir()
            own = ["--quiet", f"--results_dir={place}", f"--compilation_cache={kept}"]
            outcome = runner([*plan.arguments(value, number), *own], place)
            if outcome.status:
                failures[value] = outcome.last_line
                tell(f"{plan.axis} {value}: failed: {outcome.last_line}")
                continue
            runs.append(_run(value, reader.read(place / hepscore.FILE_NAME)))
            rates = ", ".join(f"{n} {r:.4g} events/s" for n, r in runs[-1].rates.items())
            tell(f"{plan.axis} {value}, round {number + 1}: {rates}")
    if not runs:
        raise RuntimeError(f"no run ended well: {next(iter(failures.values()))}")
    bare = Findings(
        plan.axis, plan_lib.AXES[plan.axis].label, plan.values, tuple(runs), failures, {}
    )
    return dataclasses.replace(bare, laws={name: _laws(bare, name) for name in COSTS})


def _laws(findings: Findings, name: str) -> dict[str, laws.Law]:
    found = {phase: findings.costs(name, phase) for phase in PHASES}
    return {phase: laws.fit(costs) for phase, costs in found.items() if len(costs) >= 3}


def _run(value: int, report: reader.Report) -> Run:
    phases = report.phases
    num_devices = len(report.devices)
    doubts: Sequence[str] = report.stats.get("doubts", ())
    return Run(
        value=value,
        num_events=report.stats["batch_size_total"],
        rates={name: phase.score.median for name, phase in phases.items()},
        compile_s={name: phase.compile_times.total_s or 0.0 for name, phase in phases.items()},
        memory_bytes={name: phase.memory_bytes * num_devices for name, phase in phases.items()},
        peak_process_bytes=report.stats["memory"]["peak_process_bytes"],
        is_emulated=report.is_emulated,
        doubts=tuple(doubts),
    )
