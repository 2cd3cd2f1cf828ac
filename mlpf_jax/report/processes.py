"""The processes of a run on several hosts: what each tells of itself, and what must be equal."""

import dataclasses
import re
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

_SLOWER = 1.1  # times the median process: a straggler
# Doubts about the times of the windows, which all processes have in common.
_OF_WINDOWS = re.compile(r"(training|inference): (only|an interval|a drift) ")


def describe(run: Any, *, process_id: int, host: str, num_devices: int) -> dict[str, Any]:
    """Returns what the report keeps of one process with this `RunResult`, ready for JSON."""
    steps = {
        name: [s.own_s / s.num_steps for s in phase.steady_samples if s.own_s is not None]
        for name, phase in run.phases.items()
    }
    return {
        "process_id": process_id,
        "host": host,
        "num_devices": num_devices,
        "cpu": run.environment.get("cpu"),
        "num_cores": run.environment["runtime"]["num_cores"],
        "versions": dict(run.environment["versions"]),
        # Seconds per step until this process was done, without the wait for the others.
        "step_s": {name: statistics.median(values) for name, values in steps.items() if values},
        "sample_step_s": steps,
        "machine": dataclasses.asdict(run.machine),
        "peak_process_bytes": run.peak_process_bytes,
        "loss_sha256": run.loss_sha256,
        "params_sha256": run.params_sha256,
        "doubts": list(run.doubts),
    }


def difference(processes: Sequence[Mapping[str, Any]]) -> str | None:
    """Returns which process ended with other weights or losses than process 0; None if none did."""
    for name, key in (("weights", "params_sha256"), ("losses", "loss_sha256")):
        for one in processes[1:]:
            if one[key] != processes[0][key]:
                return (
                    f"the {name} of {named(one)} are not those of process 0 (SHA-256 "
                    f"{one[key][:12]}, not {processes[0][key][:12]}): the result is wrong"
                )
    return None


def named(process: Mapping[str, Any]) -> str:
    """Returns a process with its host, as in messages."""
    return f"process {process['process_id']} on {process['host']}"


def slowest(processes: Sequence[Mapping[str, Any]], phase: str) -> tuple[str, float] | None:
    """Returns the process with the longest steps, and how many times the median process takes."""
    times = {named(one): one["step_s"].get(phase) for one in processes}
    known = {name: seconds for name, seconds in times.items() if seconds}
    if not known:
        return None
    name = max(known, key=lambda one: known[one])
    return name, known[name] / statistics.median(known.values())


def doubts(processes: Sequence[Mapping[str, Any]]) -> list[str]:
    """Returns reasons to distrust the run: those of processes but the first, and stragglers."""
    found = [
        f"{named(one)}: {doubt}"
        for one in processes[1:]
        for doubt in one["doubts"]
        if not _OF_WINDOWS.search(doubt)
    ]
    for phase in processes[0]["step_s"] if processes else ():
        late = slowest(processes, phase)
        if late is not None and late[1] > _SLOWER:
            found.append(f"{phase}: {late[0]} took {late[1]:.2f} times as long as the median")
    return found
