"""Compares our speed with that of the same graph in PyTorch and TensorFlow, in one session.

    make peers
    python -m benchmarks.peers --device=cpu --batch=4 --json=FILE

Sets of processes, one of each contender, are alive together and run short windows in turns, until
the sign of every ratio is known at 95 % or the budget ends. All get the same events, weights,
threads and allocator. Exit status: 0, 1 if a contender fails or does not
compute the same, 2 for wrong usage.
"""

import dataclasses
import json
import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast, get_args

from absl import flags

from benchmarks.peers import contender as contender_lib
from benchmarks.peers import sets as sets_lib
from benchmarks.peers import workload as workload_lib
from mlpf_jax import cli, keeping, runtime
from mlpf_jax import config as config_lib
from mlpf_jax.events import source
from mlpf_jax.measure import environment

_DEVICE = flags.DEFINE_enum("device", "cpu", ["cpu", "gpu"], "Device for all contenders.")
_PRECISION = flags.DEFINE_enum(
    "precision", "float32", get_args(config_lib.Precision), "Precision of matrix products."
)
_NETWORK = flags.DEFINE_enum("network", "published", ["published", "small"], "Its sizes.")
_BATCH = flags.DEFINE_integer("batch", 4, "Events per step.")
_JSON = flags.DEFINE_string("json", None, "File for the comparison and all samples.")
_CONTENDERS = flags.DEFINE_list(
    "contenders",
    [contender_lib.OURS, *contender_lib.PEERS],
    f"Contenders to run; ours always runs. {contender_lib.OURS_TIGHT} is ours without empty bins.",
)
_BUDGET = flags.DEFINE_float("budget_s", 2400.0, "Seconds after which no set is started.")
_MAX_SETS = flags.DEFINE_integer("max_sets", 16, "Maximum number of sets.", lower_bound=1)
_WINDOWS = flags.DEFINE_integer(
    "windows", 18, "Windows of each contender, phase and set.", lower_bound=1
)
_NUM_ELEMENTS = flags.DEFINE_integer("num_elements", 6400, "Elements per event, including padding.")
_EVENTS_AT_ONCE = flags.DEFINE_integer(
    "events_at_once", 1, "Events that ours computes at once on a CPU, as in flags/default.cfg."
)
_DATA_DIR = flags.DEFINE_string("data_dir", None, "Folder of events; default: the cache.")

_NUM_BATCHES = 2
_TIMEOUT_S = 1800.0


def main(argv: Sequence[str]) -> int:
    """Runs all rounds, prints the tables and writes the file."""
    if len(argv) > 1:
        return cli.complain(f"stray argument: {argv[1]}.", cli.USAGE)
    num_cores = runtime.count_cores()
    os.environ["JAX_PLATFORMS"] = "cpu"  # the device's memory belongs to the contenders
    try:
        config = _config()
        plan = _plan(num_cores)
        if _JSON.value:
            keeping.try_file(Path(_JSON.value))
        # Imported late: these import JAX, which would delay reports of wrong usage.
        from benchmarks.peers import comparing, events, table

        data_dir = Path(_DATA_DIR.value) if _DATA_DIR.value else source.default_data_dir()
        workload = events.make(config, _NUM_BATCHES, data_dir)
    except (ValueError, OSError) as error:
        return cli.complain(error, cli.USAGE)
    with tempfile.TemporaryDirectory() as folder:
        workload_lib.write(Path(folder), workload)
        outcome = sets_lib.run(
            plan,
            Path(folder),
            lambda line: print(line, file=sys.stderr),
            lambda found: comparing.is_enough(found.sets),
        )
    try:
        result = comparing.compare(
            outcome.starts,
            outcome.sets,
            _BATCH.value,
            num_cores,
            precision=_precision(),
            on_cpu=_DEVICE.value == "cpu",
        )
    except ValueError as error:
        cli.complain(error, cli.FAILURE)
        _tell_failures(outcome)
        return cli.FAILURE
    place = f"{num_cores} CPU cores" if _DEVICE.value == "cpu" else "one GPU"
    title = table.title_of(_BATCH.value, _NUM_ELEMENTS.value, _PRECISION.value, place)
    table.show(result, title)
    if _JSON.value:
        facts = {"events_sha256": events.sha256(workload), "num_threads": num_cores}
        document = comparing.document(result) | _provenance(config, outcome) | facts
        try:
            keeping.write_file(Path(_JSON.value), _encoded(document))
        except OSError as error:
            return cli.complain(error, cli.FAILURE)
    if len(outcome.groups) > 1:
        print("The memory of all does not fit: ours was alive beside one other at a time.")
    _tell_failures(outcome)
    return cli.FAILURE if outcome.failures else 0


def _tell_failures(outcome: sets_lib.Outcome) -> None:
    for name, told in outcome.failures.items():
        cli.complain(f"{name} was excluded: {sets_lib.cause(told)}", cli.FAILURE)


def _precision() -> config_lib.Precision:
    return cast(config_lib.Precision, _PRECISION.value)


def _config() -> config_lib.RunConfig:
    on_cpu = _DEVICE.value == "cpu"
    model = config_lib.ModelConfig()
    if _NETWORK.value == "small":
        from benchmarks.step import workload as step_workload  # imports JAX

        model = step_workload.NETWORKS["small"]
    return config_lib.RunConfig(
        model=dataclasses.replace(model, precision=_precision()),
        data=config_lib.DataConfig(num_elements=_NUM_ELEMENTS.value),
        train=config_lib.TrainConfig(
            batch_size=_BATCH.value,
            events_at_once=_EVENTS_AT_ONCE.value if on_cpu else 0,
            stacks_chains=not on_cpu,
        ),
    )


def _plan(num_cores: int) -> sets_lib.Plan:
    names, ours = tuple(contender_lib.ENTRIES), contender_lib.OURS
    return sets_lib.Plan(
        names=sets_lib.names_of(_CONTENDERS.value, names, ours),
        num_threads=num_cores,
        device=cast(contender_lib.Device, _DEVICE.value),
        timeout_s=_TIMEOUT_S,
        budget_s=_BUDGET.value,
        most_sets=_MAX_SETS.value,
        num_rounds=_WINDOWS.value,
    )


def _provenance(config: config_lib.RunConfig, outcome: sets_lib.Outcome) -> dict[str, Any]:
    """Returns the provenance of the comparison, with all starts and windows."""
    return {
        "device": _DEVICE.value,
        "batch": _BATCH.value,
        "config": dataclasses.asdict(config),
        "environment": environment.describe(),
        "failures": outcome.failures,
        "alive_together": outcome.groups,
        "starts": outcome.starts,
        "sets": [
            [{phase: dataclasses.asdict(turns) for phase, turns in group.items()} for group in one]
            for one in outcome.sets
        ],
    }


def _encoded(document: dict[str, Any]) -> bytes:
    return (json.dumps(document, indent=1, allow_nan=False) + "\n").encode()


if __name__ == "__main__":
    cli.run(main, takes_files=True)
