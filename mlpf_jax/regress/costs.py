"""The values of one run for the regression gate: costs, results and machine."""

import dataclasses
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from mlpf_jax.report import reader

_PROGRAM = "program."


@dataclasses.dataclass(frozen=True, kw_only=True)
class RunMeasures:
    """One run, which is one process. Lower is better for every cost."""

    # `training` and `inference`: per event; `compile`: both steps, unless loaded from a cache
    seconds: Mapping[str, float]
    lower_s: float  # the Python part of `compile`, for both steps; always measured
    memory_bytes: Mapping[str, int]  # per device as planned by the compiler, by phase
    peak_process_bytes: int | None
    accuracy: float | None  # the last validation accuracy, or else the accuracy of inference
    loss: float | None  # likewise
    digests: Mapping[str, str]  # digests of all losses, of the weights and of the programs
    machine_class: str
    started_at: str  # ISO 8601, UTC
    finished_at: str
    doubts: tuple[str, ...]  # the run's own reasons to distrust it

    def __str__(self) -> str:
        return ", ".join(f"{name} {value:.4g} s" for name, value in self.seconds.items())

    @property
    def programs(self) -> dict[str, str]:
        """The digest of every program given to the compiler, by phase."""
        return {name: value for name, value in self.digests.items() if name.startswith(_PROGRAM)}

    @property
    def measures_compile(self) -> bool:
        """Whether the run compiled the steps, and did not load them from a cache."""
        return "compile" in self.seconds

    @property
    def xla_s(self) -> float | None:
        """The compiler's part of `compile`; None if it was not measured."""
        whole_s = self.seconds.get("compile")
        return None if whole_s is None else whole_s - self.lower_s


def from_report(report: reader.Report) -> RunMeasures:
    """Returns the values of a report that the gate needs."""
    phases, found = report.phases, report.stats
    seconds = {name: 1 / phase.score.median for name, phase in phases.items()}
    if report.compile_s is not None:
        seconds["compile"] = report.compile_s
    losses = found.get("val_loss") or found.get("inference_loss")
    programs = {f"{_PROGRAM}{name}": phase.program_sha256 for name, phase in phases.items()}
    return RunMeasures(
        seconds=seconds,
        lower_s=sum(phase.compile_times.lower_s for phase in phases.values()),
        memory_bytes={name: phase.memory_bytes for name, phase in phases.items()},
        peak_process_bytes=found["memory"]["peak_process_bytes"],
        accuracy=report.accuracy,
        loss=losses[-1] if losses else None,
        digests={"losses": found["loss_sha256"], "weights": found["params_sha256"], **programs},
        machine_class=report.machine_class,
        started_at=found["started_at"],
        finished_at=found["finished_at"],
        doubts=tuple(found.get("doubts", ())),
    )


def from_document(fields: Mapping[str, Any]) -> RunMeasures:
    """Returns the run from the output `fields` of `dataclasses.asdict`; ignores unknown keys.

    Raises:
        TypeError: if one without a default is missing.
    """
    known = {f.name: fields[f.name] for f in dataclasses.fields(RunMeasures) if f.name in fields}
    return RunMeasures(**known | {"doubts": tuple(fields["doubts"])})


def compile_of_same_programs(runs: Sequence[RunMeasures]) -> list[float]:
    """Returns the compilation times of runs that gave the same programs to the same compiler.

    The compiler's own time is then the same for all runs, so the median over all runs is used for
    each. Only the lowering time differs between runs. At least one run must have measured it.
    """
    xla_s = statistics.median(run.xla_s for run in runs if run.xla_s is not None)
    return [run.lower_s + xla_s for run in runs]
