"""Measures how the benchmark scales: over devices, batch sizes and training events.

    mlpf-jax-scaling --max_devices=8 --study=weak,strong,batch --out=scaling
    mlpf-jax-scaling --max_devices=2 --study=weak,data -- --flagfile=flags/smoke.cfg

Arguments after `--` are settings of every run, as for mlpf_jax.main. Each run is a process of its
own. The same command resumes an interrupted study in --out. See docs/scaling.md. Exit status: 0 if
all points were measured, 1 if a run failed, 2 for wrong usage, 130 on Ctrl-C, 143
on SIGTERM.
"""

import functools
from collections.abc import Sequence
from pathlib import Path

from absl import flags

from mlpf_jax import arguments, cli, processes, progress
from mlpf_jax.commands import studies
from mlpf_jax.study import claims, engine, findings, output, running, runs
from mlpf_jax.study.scaling import plan as planning
from mlpf_jax.study.scaling import view

_MAX_DEVICES = flags.DEFINE_integer(
    "max_devices", 8, "Largest number of devices: 1, 2, 4 and so on."
)
_STUDY = flags.DEFINE_list(
    "study", "weak,strong,batch", f"Studies to run: any of {', '.join(planning.KINDS)}."
)
_REPEATS = flags.DEFINE_integer(
    "repeats", 3, "Number of runs of each point, each with its own seed."
)
_MAX_BATCH_SIZE = flags.DEFINE_integer(
    "max_batch_size", None, "Largest batch of --study=batch. Default: the batch of strong scaling."
)
_TIMEOUT = flags.DEFINE_float("run_timeout_s", None, "Seconds after which a run counts as failed.")
_OUT = flags.DEFINE_string("out", "scaling", "Folder for the runs, tables and plots.")
_PLOT = flags.DEFINE_enum("plot", "svg", ["svg", "png", "none"], "Format of the picture.")
_QUIET = flags.DEFINE_bool("quiet", False, "Print no progress.")


def main(run_arguments: Sequence[str], argv: Sequence[str]) -> int:
    del argv  # no arguments are left
    teller = progress.Progress(quiet=_QUIET.value)
    out = Path(_OUT.value)
    try:
        settings = arguments.expand(run_arguments)
    except (OSError, ValueError) as error:
        return cli.complain(error, cli.USAGE)
    return studies.exit_status(functools.partial(_study, settings, out, teller), "points")


def _study(settings: Sequence[str], out: Path, teller: progress.Progress) -> findings.Findings:
    plan = planning.make(
        _studies(),
        settings,
        max_devices=_MAX_DEVICES.value,
        repeats=_REPEATS.value,
        max_batch_size=_MAX_BATCH_SIZE.value,
    )
    found = _measure(plan, out, teller)
    output.write(view.view(found), found, out, name="scaling", plot=_PLOT.value)
    return found


def _measure(plan: planning.Plan, out: Path, teller: progress.Progress) -> findings.Findings:
    runner = functools.partial(running.run_main, timeout_s=_TIMEOUT.value)
    with processes.interrupted_by_terminate(), claims.held(out):
        measured = engine.run(plan.sweep(), out, runner, teller)
    return plan.findings(runs.results(measured, out), runs.provenance(measured))


def _studies() -> list[str]:
    for name in _STUDY.value:
        if name not in planning.KINDS:
            raise engine.StudyError(f"--study={name}: none of {', '.join(planning.KINDS)}.")
    return list(dict.fromkeys(_STUDY.value))


def run_app() -> None:
    """Runs the program; arguments after `--` are settings of the runs."""
    cli.run_with_settings(main)


if __name__ == "__main__":
    run_app()
