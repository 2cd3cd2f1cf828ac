"""The grid of a sweep: its axes, and how a point is run."""

import dataclasses
import math
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import get_args

from mlpf_jax import config as config_lib
from mlpf_jax.study import engine, running, trade_offs

WORKLOAD = "mlpf_jax.commands.workload"
# Set on the GPUs before a run, not by a flag of it.
GPU_SETTINGS = ("gpu_clock", "power_limit")
AXES: Mapping[str, engine.Axis] = {
    axis.name: axis
    for axis in (
        engine.Axis("batch_size", (), ("batch_size",), "batch"),
        engine.Axis("num_devices", (), ("num_devices",), "devices"),
        engine.Axis("precision", get_args(config_lib.Precision), ("precision",), "precision"),
        engine.Axis("padding", get_args(config_lib.Padding), ("padding",), "padding"),
        engine.Axis("threads", (), ("threads",), "threads"),
        engine.Axis("copies", (), ("copies",), "copies"),
        engine.Axis("gpu_clock", (), ("gpu_clock",), "GPU MHz"),
        engine.Axis("power_limit", (), ("power_limit",), "GPU W"),
    )
}
_IN_LABELS = {
    "batch_size": "batch {}",
    "num_devices": "devices {}",
    "padding": "{} padding",
    "threads": "threads {}",
    "copies": "copies {}",
    "gpu_clock": "{} MHz",
    "power_limit": "{} W",
}
# Sets the GPUs; returns the reason if that is refused.
Apply = Callable[[Mapping[str, int]], str | None]
_REFUSED = {
    "seed": "every round has its own.",
    "resultsdir": "every run has its own in --out.",
    "results_dir": "every run has its own in --out.",
    "compilation_cache": "all runs share one in --out.",
    **dict.fromkeys(GPU_SETTINGS, "write it before --."),
}
_SHORT = {"w": "resultsdir", "c": "copies", "t": "threads"}  # of the workload; with a number, too


def axes(words: Mapping[str, Sequence[str]]) -> tuple[engine.Axis, ...]:
    """Returns the axes with the given values, in the order of AXES.

    Raises:
        engine.StudyError: if there is none, a value is impossible or given twice, or there are too
            many combinations.
    """
    given = tuple(
        dataclasses.replace(axis, values=_values(axis, words[name]))
        for name, axis in AXES.items()
        if words.get(name)
    )
    if not given:
        raise engine.StudyError(
            f"give values of at least one setting: --{', --'.join(AXES)}; such as --batch_size=1,2"
        )
    number = math.prod(len(axis.values) for axis in given)
    if number > trade_offs.MOST_POINTS:
        raise engine.StudyError(
            f"{number} combinations of these values are more than {trade_offs.MOST_POINTS}."
        )
    return given


def _values(axis: engine.Axis, words: Sequence[str]) -> tuple[engine.Value, ...]:
    told = f"--{axis.name}={','.join(words)}"
    if len(set(words)) < len(words):
        raise engine.StudyError(f"{told}: give each value once.")
    if axis.values:
        if not set(words) <= set(axis.values):
            raise engine.StudyError(f"{told}: must be of {', '.join(map(str, axis.values))}.")
        return tuple(words)
    if not all(re.fullmatch(r"[1-9]\d{0,5}", word) for word in words):
        raise engine.StudyError(f"{told}: must be positive whole numbers.")
    return tuple(map(int, words))


def sweep(given: Sequence[engine.Axis], arguments: Sequence[str], *, repeats: int) -> engine.Sweep:
    """Returns all combinations of the axes' values; `arguments` are shared by all runs.

    Raises:
        engine.StudyError: if an argument is varied, or cannot be shared.
    """
    refused = _REFUSED | {axis.name: "the sweep varies it." for axis in given}
    for argument in arguments:
        name = argument.partition("=")[0].lstrip("-").replace("-", "_")
        if (name := _SHORT.get(name.rstrip("0123456789"), name)) in refused:
            raise engine.StudyError(
                f"{argument}: not allowed for the runs of a sweep: {refused[name]}"
            )
    return engine.Sweep(
        points=engine.grid(given), arguments=tuple(arguments), repeats=repeats, seed=1
    )


def labels(given: Sequence[engine.Axis], points: Sequence[engine.Point]) -> list[str]:
    """Returns the varied settings of each point."""
    varied = [axis for axis in given if len(axis.values) > 1] or given
    return [
        ", ".join(_IN_LABELS.get(a.name, "{}").format(point.get(a.name)) for a in varied)
        for point in points
    ]


def runner(run: running.Runner, apply: Apply) -> running.Runner:
    """Returns a runner that sets the GPUs of a point, and runs it as a workload with `run`."""

    def run_point(arguments: Sequence[str], folder: Path) -> running.Outcome:
        words = [word.removeprefix("--").partition("=") for word in arguments]
        settings = {name: int(value) for name, _, value in words if name in GPU_SETTINGS}
        refusal = apply(settings) if settings else None
        if refusal is not None:
            return running.Outcome(engine.WRONG_USAGE, refusal)
        own = ("results_dir", *GPU_SETTINGS)
        left = [w for w in arguments if w.partition("=")[0].removeprefix("--") not in own]
        return run([*left, "--direct", f"--resultsdir={folder}"], folder)

    return run_point
