"""What one run says to the regression gate: its costs, its results, and what machine it ran on."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from mlpf_jax.results import reading


@dataclasses.dataclass(frozen=True, kw_only=True)
class RunMeasures:
    """One run, that is one process. Less is better of every cost."""

    seconds: Mapping[str, float]  # `training` and `inference`: of one event; `compile`: of both
    memory_bytes: Mapping[str, int]  # of one device, as the compiler planned, by phase
    peak_process_bytes: int | None
    accuracy: float | None  # the last validation accuracy, else that of inference
    loss: float | None  # likewise
    digests: Mapping[str, str]  # of all losses, of the weights, of the programs
    machine_class: str
    started_at: str  # ISO 8601, UTC
    finished_at: str
    doubts: tuple[str, ...]  # why the run itself says that it should not be trusted


def from_report(report: reading.Report) -> RunMeasures:
    """Returns what the gate needs of a report."""
    phases, found = report.phases, report.stats
    seconds = {name: 1 / phase.score.median for name, phase in phases.items()}
    seconds["compile"] = sum(phase.lower_s + phase.compile_s for phase in phases.values())
    losses = found.get("val_loss") or found.get("inference_loss")
    programs = {f"program.{name}": phase.program_sha256 for name, phase in phases.items()}
    return RunMeasures(
        seconds=seconds,
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
