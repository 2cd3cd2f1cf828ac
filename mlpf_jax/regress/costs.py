"""What one run says to the regression gate: its costs, its results, and what machine it ran on."""

import dataclasses
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from mlpf_jax.report import reader

STEPS = frozenset({"training", "inference"})
_PROGRAM = "program."


@dataclasses.dataclass(frozen=True, kw_only=True)
class RunMeasures:
    """One run, that is one process. Less is better of every cost."""

    # `training` and `inference`: of one event; `compile`: of both, unless they came from a cache
    seconds: Mapping[str, float]
    lower_s: float  # the part of `compile` that is Python's, of both; always measured
    memory_bytes: Mapping[str, int]  # of one device, as the compiler planned, by phase
    peak_process_bytes: int | None
    accuracy: float | None  # the last validation accuracy, else that of inference
    loss: float | None  # likewise
    digests: Mapping[str, str]  # of all losses, of the weights, of the programs
    machine_class: str
    started_at: str  # ISO 8601, UTC
    finished_at: str
    yardstick_s: float | None = None  # a fixed work beside the samples; None: it was not done
    doubts: tuple[str, ...]  # why the run itself says that it should not be trusted

    @property
    def programs(self) -> dict[str, str]:
        """The digest of every program, by phase: of what the compiler was given."""
        return {name: value for name, value in self.digests.items() if name.startswith(_PROGRAM)}

    @property
    def measures_compile(self) -> bool:
        """Whether the steps were compiled in the run, and not taken from a cache."""
        return "compile" in self.seconds

    @property
    def xla_s(self) -> float | None:
        """The compiler's part of `compile`; None if it was not measured."""
        whole_s = self.seconds.get("compile")
        return None if whole_s is None else whole_s - self.lower_s


def from_report(report: reader.Report) -> RunMeasures:
    """Returns what the gate needs of a report."""
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
    """Returns the run that `dataclasses.asdict` made `fields` of; keys of others are passed over.

    Raises:
        KeyError: if one is missing.
    """
    names = [field.name for field in dataclasses.fields(RunMeasures)]
    known = {name: fields[name] for name in names}
    return RunMeasures(**known | {"doubts": tuple(fields["doubts"])})


def compile_of_same_programs(runs: Sequence[RunMeasures]) -> list[float]:
    """Returns what compiling took in each of runs that gave the same compiler the same programs.

    The compiler's own part is then one number, whichever run it is measured in: the median of all
    stands for it, and what differs from run to run is the lowering. At least one has measured it.
    """
    xla_s = statistics.median(run.xla_s for run in runs if run.xla_s is not None)
    return [run.lower_s + xla_s for run in runs]
