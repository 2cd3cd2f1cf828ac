"""The whole step: its untraced time, and its breakdown by parts of the network."""

import dataclasses
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.aot import hlo
from benchmarks.step import attribution, sampling, traces, workload
from mlpf_jax import errors
from mlpf_jax.measure import profiling, timing

_TRACED_STEPS = 3


@dataclasses.dataclass(frozen=True)
class PartTime:
    """The time of one part of the network in one step, in seconds of the trace."""

    part: str
    forward_s: float
    backward_s: float  # or of the update, which has no direction

    @property
    def seconds(self) -> float:
        """The sum of both."""
        return self.forward_s + self.backward_s


@dataclasses.dataclass(frozen=True)
class Breakdown:
    """A step's trace. Operations may overlap, so `sum_s` may exceed `covered_s`."""

    traced_s: float  # wall time of a traced step
    sum_s: float  # of all operations of a traced step, by their own length
    covered_s: float  # of a traced step, at least one operation ran: the parts add up to it
    parts: tuple[PartTime, ...]  # largest first
    operations: tuple[tuple[str, str, float], ...]  # the longest: name, part, seconds

    @property
    def coverage(self) -> float:
        """The share of a traced step covered by operations."""
        return self.covered_s / self.traced_s


@dataclasses.dataclass(frozen=True)
class Whole:
    """One step, with a breakdown if requested."""

    name: str
    samples: sampling.Samples  # untraced
    step_s: float  # median of the samples
    breakdown: Breakdown | None
    num_launches: int | None = None  # in the compiled program; None if it cannot be counted
    num_bytes: int | None = None  # that they move
    no_breakdown: str | None = None  # why it is missing although it was requested


def from_document(found: Mapping[str, Any]) -> Whole:
    """Returns the value that was converted to `found` by `dataclasses.asdict` and JSON."""
    told = found["breakdown"]
    breakdown = told and Breakdown(
        **told
        | {
            "parts": tuple(PartTime(**part) for part in told["parts"]),
            "operations": tuple(map(tuple, told["operations"])),
        }
    )
    samples = sampling.Samples(
        tuple(found["samples"]["seconds"]), found["samples"]["calls_per_sample"]
    )
    rest = (found.get(name) for name in ("num_launches", "num_bytes", "no_breakdown"))
    return Whole(found["name"], samples, found["step_s"], breakdown, *rest)


def measure(name: str, step: workload.Step, num_samples: int, *, traces_it: bool) -> Whole:
    """Samples a step, then traces a few more of them.

    Many hosts do not let a user trace a GPU, so a trace without operations is noted, and what else
    was measured is kept.
    """
    current, samples = sampling.sample_steps(
        step.advance, step.initial, step.batch, num_samples=num_samples
    )
    breakdown = why_none = None
    if traces_it:
        try:
            breakdown = _breakdown(name, step, current)
        except (ValueError, RuntimeError) as error:
            why_none = errors.one_line(error)
    counts = _counts(step.compiled.as_text() or "")
    return Whole(name, samples, samples.summary.median, breakdown, *counts, why_none)


def _counts(hlo_text: str) -> tuple[int | None, int | None]:
    """Returns launches and bytes, which are unknown if a loop has no known length."""
    try:
        traffic = hlo.traffic(hlo_text)
    except ValueError:
        return None, None
    return traffic.num_launches, traffic.num_bytes


def _breakdown(name: str, step: workload.Step, current: Any) -> Breakdown:
    traced_s = 0.0

    def advance():
        nonlocal current, traced_s
        current, _, seconds = timing.time_steps(step.advance, current, [step.batch])
        traced_s += seconds
        return current

    places = attribution.places(step.compiled.as_text() or "")
    with tempfile.TemporaryDirectory(prefix="mlpf-jax-trace-") as folder:
        actions = {f"{name} {number}": advance for number in range(_TRACED_STEPS)}
        trace = traces.read(profiling.write_trace(Path(folder), actions), places)
    longest = sorted(trace.seconds.items(), key=lambda item: -item[1])[:20]
    return Breakdown(
        traced_s=traced_s / _TRACED_STEPS,
        sum_s=trace.sum_s / _TRACED_STEPS,
        covered_s=trace.covered_s / _TRACED_STEPS,
        parts=_parts(trace, places),
        operations=tuple((op, places[op].part, s / _TRACED_STEPS) for op, s in longest),
    )


def _parts(trace: traces.Trace, places: dict[str, attribution.Place]) -> tuple[PartTime, ...]:
    found = trace.by_place(places)

    def seconds(part: str, directions: Sequence[str]) -> float:
        chosen = [s for p, s in found.items() if p.part == part and p.direction in directions]
        return sum(chosen) / _TRACED_STEPS

    rows = [
        PartTime(part, seconds(part, ["forward"]), seconds(part, ["backward", "update"]))
        for part in attribution.PARTS
    ]
    return tuple(sorted(rows, key=lambda row: -row.seconds))
