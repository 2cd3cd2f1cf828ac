"""Measures how speed, compile time and memory grow along one axis of the workload.

    python -m benchmarks.growth --axis=batch --json=FILE --plot=FILE.svg
    python -m benchmarks.growth --axis=elements --preset=flags/smoke.cfg --values=64,128,256 \
        --json=FILE

Every run is the benchmark itself in a process of its own. A size that does not fit is told and
left out. Exit status: 0, 1 if a size could not be measured, 2 for wrong usage.
"""

import dataclasses
import functools
import importlib
import importlib.util
import json
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import cast

from absl import flags

from benchmarks.growth import plan as plan_lib
from benchmarks.growth import study, table
from mlpf_jax import atomic, cli
from mlpf_jax.measure import environment
from mlpf_jax.study import running

_AXIS = flags.DEFINE_enum("axis", None, list(plan_lib.AXES), "What grows.", required=True)
_VALUES = flags.DEFINE_list("values", [], "Sizes. Default: those for the published network.")
_PRESET = flags.DEFINE_string("preset", "flags/default.cfg", "Flag file of all runs.")
_BATCH = flags.DEFINE_integer("batch", 1, "Events per device and step, unless they grow.")
_NUM_STEPS = flags.DEFINE_integer("num_steps", 7, "Training steps of a run.")
_SETTINGS = flags.DEFINE_multi_string(
    "setting", [], "Of all runs, such as --setting=precision=bf16."
)
_REPEATS = flags.DEFINE_integer("repeats", 2, "Runs of each size.", lower_bound=1)
_TIMEOUT = flags.DEFINE_float("run_timeout_s", 900.0, "Seconds after which a run has failed.")
_JSON = flags.DEFINE_string("json", None, "File for all runs and laws.")
_PLOT = flags.DEFINE_string("plot", None, "File for the picture (.svg).")


def main(argv: Sequence[str]) -> int:
    """Runs the study, prints the table, and writes the files."""
    del argv
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # runs must not outlive the study
    try:
        plan = _plan()
    except ValueError as error:
        return cli.complain(error, cli.USAGE)
    runner = functools.partial(running.run_main, timeout_s=_TIMEOUT.value)
    try:
        findings = study.run(plan, lambda line: print(line, file=sys.stderr), runner)
    except (RuntimeError, ValueError, OSError) as error:
        return cli.complain(error, cli.FAILURE)
    print(table.text(findings), end="")
    if _JSON.value:
        document = {
            "plan": dataclasses.asdict(plan),
            "environment": environment.describe(),
            **dataclasses.asdict(findings),
            "cliffs": table.cliffs(findings),
        }
        encoded = json.dumps(document, indent=1, allow_nan=False) + "\n"
        atomic.write_file(Path(_JSON.value), encoded.encode())
    if _PLOT.value:
        plot = importlib.import_module("benchmarks.growth.plot")  # Matplotlib is an extra
        title = f"{environment.describe()['cpu']}, runs per size: {plan.repeats}"
        atomic.write_file(Path(_PLOT.value), plot.draw(findings, title))
    if findings.failures:
        sizes = ", ".join(map(str, findings.failures))
        return cli.complain(f"could not be measured: {sizes}", cli.FAILURE)
    return 0


def _plan() -> plan_lib.Plan:
    """Gathers the flags.

    Raises:
        ValueError: if they make no study, or the picture cannot be drawn.
    """
    if not Path(_PRESET.value).is_file():
        raise ValueError(f"--preset={_PRESET.value}: no such file.")
    if _PLOT.value and importlib.util.find_spec("matplotlib") is None:
        raise ValueError("--plot needs Matplotlib: pip install 'mlpf_jax[report]'")
    return plan_lib.Plan(
        axis=cast(plan_lib.AxisName, _AXIS.value),
        values=plan_lib.parse_values(_VALUES.value, _AXIS.value),
        repeats=_REPEATS.value,
        settings=(f"--flagfile={_PRESET.value}", *(f"--{word}" for word in _SETTINGS.value)),
        batch_size=_BATCH.value,
        num_steps=_NUM_STEPS.value,
    )


if __name__ == "__main__":
    cli.run(main)
