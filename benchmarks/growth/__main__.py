"""Measures how speed, compile time and memory grow along one axis of the workload.

    python -m benchmarks.growth --axis=batch --out=growth
    python -m benchmarks.growth --axis=elements --preset=flags/smoke.cfg --values=64,128,256
    python -m benchmarks.growth --from=FILE --out=growth      # tables and picture of a recorded one

Each run is the benchmark itself in its own process. The same command resumes an interrupted study
in --out; several axes may share it. A size that does not fit is reported and skipped. Exit status:
0, 1 if a size could not be measured, 2 for wrong usage, 130 on Ctrl-C, 143 on
SIGTERM.
"""

import functools
from collections.abc import Sequence
from pathlib import Path

from absl import flags

from benchmarks.growth import axes, recorded, table
from mlpf_jax import arguments, cli, processes, progress
from mlpf_jax.commands import studies
from mlpf_jax.study import engine, findings, output, running, runs

_AXIS = flags.DEFINE_enum("axis", None, list(axes.AXES), "What grows.")
_VALUES = flags.DEFINE_list("values", [], "Sizes. Default: those for the published network.")
_PRESET = flags.DEFINE_string("preset", "flags/default.cfg", "Flag file of all runs.")
_BATCH = flags.DEFINE_integer("batch", 1, "Events per device and step, unless they are the axis.")
_NUM_STEPS = flags.DEFINE_integer("num_steps", axes.NUM_STEPS, "Training steps of a run.")
_SETTINGS = flags.DEFINE_multi_string(
    "setting", [], "Setting of all runs, such as --setting=precision=bf16."
)
_REPEATS = flags.DEFINE_integer("repeats", 2, "Number of runs of each size.")
_TIMEOUT = flags.DEFINE_float("run_timeout_s", 900.0, "Seconds after which a run counts as failed.")
_OUT = flags.DEFINE_string("out", "growth", "Folder for the runs, tables and plots.")
_PLOT = flags.DEFINE_enum("plot", "svg", ["svg", "png", "none"], "Format of the picture.")
_FROM = flags.DEFINE_string(
    "from", None, "Recorded study (.json) to show, without running anything."
)


def main(argv: Sequence[str]) -> int:
    """Runs the study, or reads one, prints the table, and writes the files."""
    del argv
    return studies.exit_status(_study, "sizes")


def _study() -> findings.Findings:
    out, teller = Path(_OUT.value), progress.Progress()
    found = recorded.read(Path(_FROM.value)) if _FROM.value else _measure(out, teller)
    (series,) = found.series
    output.write(table.view(found), found, out, name=series.kind.name, plot=_PLOT.value)
    return found


def _measure(out: Path, teller: progress.Progress) -> findings.Findings:
    axis, sweep = _sweep()
    runner = functools.partial(running.run_main, timeout_s=_TIMEOUT.value)
    with processes.interrupted_by_terminate():
        measured = engine.run(sweep, out, runner, teller)
    results = runs.results(measured, out)
    return findings.Findings(
        provenance=runs.provenance(measured),
        arguments=sweep.arguments,
        repeats=sweep.repeats,
        results=tuple(results.values()),
        series=(findings.series(axes.kind(axis), list(results.values())),),
    )


def _sweep() -> tuple[engine.Axis, engine.Sweep]:
    if _AXIS.value is None:
        raise engine.StudyError(f"--axis: give one or more of {', '.join(axes.AXES)}.")
    if not Path(_PRESET.value).is_file():
        raise engine.StudyError(f"--preset={_PRESET.value}: no such file.")
    shared = arguments.read_file(Path(_PRESET.value))
    axis = axes.AXES[_AXIS.value]
    return axis, axes.sweep(
        axis,
        _VALUES.value,
        [*shared, *(f"--{word}" for word in _SETTINGS.value)],
        repeats=_REPEATS.value,
        batch_size=_BATCH.value,
        num_steps=_NUM_STEPS.value,
    )


if __name__ == "__main__":
    cli.run(main)
