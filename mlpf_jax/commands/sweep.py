"""Measures a grid of settings, each point in its own process, and shows which points are best.

    python -m tools.sweep --batch_size=1,2,4 --precision=float32,bf16 --out=sweep
    python -m tools.sweep --copies=1,2 --threads=1 --out=sweep -- --preset=smoke
    python -m tools.sweep --power_limit=700,500,300 --out=sweep -- --price_per_hour=2.50

Every point is a run of mlpf-jax-bmk; arguments after `--` are its settings. The same command
resumes an interrupted sweep in --out, and more values extend it. Clock and power limit of GPUs are
restored at the end, however it comes. See docs/sweep.md. Exit status: 0 if all points were
measured, 1 if a run failed, 2 for wrong usage, 130 on Ctrl-C, 143 on SIGTERM.
"""

import functools
from collections.abc import Sequence
from pathlib import Path

from absl import flags

from mlpf_jax import arguments, cli, processes, progress
from mlpf_jax.commands import studies
from mlpf_jax.study import claims, engine, findings, output, running, runs, trade_offs
from mlpf_jax.study.sweep import gpus, grid, view

_VALUES = {
    name: flags.DEFINE_list(name, [], f"Values to measure, joined by commas: {axis.label}.")
    for name, axis in grid.AXES.items()
}
_REPEATS = flags.DEFINE_integer(
    "repeats", 3, "Number of runs of each point, each with its own seed."
)
_TIMEOUT = flags.DEFINE_float("run_timeout_s", None, "Seconds after which a run counts as failed.")
_OUT = flags.DEFINE_string("out", "sweep", "Folder for the runs, tables and plots.")
_PLOT = flags.DEFINE_enum("plot", "svg", ["svg", "png", "none"], "Format of the picture.")
_QUIET = flags.DEFINE_bool("quiet", False, "Print no progress.")


def main(run_arguments: Sequence[str], argv: Sequence[str]) -> int:
    """Runs what is missing, and shows the table."""
    del argv  # no arguments are left
    out = Path(_OUT.value)
    try:
        settings = arguments.expand(run_arguments)
    except (OSError, ValueError) as error:
        return cli.complain(error, cli.USAGE)
    return studies.exit_status(functools.partial(_study, settings, out), "points")


def _study(settings: Sequence[str], out: Path) -> findings.Findings:
    axes = grid.axes({name: flag.value for name, flag in _VALUES.items()})
    sweep = grid.sweep(axes, settings, repeats=_REPEATS.value)
    found = _measure(axes, sweep, out)
    output.write(view.view(found, axes), found, out, name="sweep", plot=_PLOT.value)
    return found


def _measure(axes: Sequence[engine.Axis], sweep: engine.Sweep, out: Path) -> findings.Findings:
    run = functools.partial(running.run_main, timeout_s=_TIMEOUT.value, module=grid.WORKLOAD)
    teller = progress.Progress(quiet=_QUIET.value)
    with (
        processes.interrupted_by_terminate(),
        claims.held(out),  # a second guardian would restore the GPUs of the first one
        gpus.Guardian(out / gpus.FILE_NAME) as guardian,
    ):
        measured = engine.run(sweep, out, grid.runner(run, guardian.apply), teller)
    results = tuple(runs.results(measured, out).values())
    return findings.Findings(
        provenance=runs.provenance(measured, varies_cores=True),
        arguments=sweep.arguments,
        repeats=sweep.repeats,
        results=results,
        series=(),
        trade_offs=trade_offs.rows(grid.labels(axes, sweep.points), results),
    )


def run_app() -> None:
    """Runs the program; arguments after `--` are settings of the runs."""
    cli.run_with_settings(main)


if __name__ == "__main__":
    run_app()
