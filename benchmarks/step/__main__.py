"""Measures the parts of a step in isolation, and profiles the whole step.

    python -m benchmarks.step --json=FILE
    python -m benchmarks.step --batch=4 --num_elements=6400 --json=FILE

Every part is compiled and timed alone, forward and with its gradients, and compared with the peak
rates of this machine for matrix products and copies, which are measured first. Then one training
step and one inference step are traced by the profiler, and their operations added up by part. On a
CPU that happens in a process of its own on one core: on several XLA hands products of matrices to a
pool of threads, and a trace shows no more of them than that. Exit status: 0, 1 if a measurement or
a trace fails, 2 for wrong usage.
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

from mlpf_jax import cli, keeping, processes, runtime
from mlpf_jax import config as config_lib
from mlpf_jax.events import source
from mlpf_jax.measure import environment

_SAMPLES_ON_ONE_CORE = 3
_TIMEOUT_S = 3600.0
_CAN_BIND = hasattr(os, "sched_setaffinity")

_BATCH = flags.DEFINE_integer("batch", 1, "Events per step.")
_NUM_ELEMENTS = flags.DEFINE_integer("num_elements", 6400, "Elements per event, including padding.")
_NETWORK = flags.DEFINE_enum("network", "published", ["published", "small"], "Its sizes.")
_PRECISION = flags.DEFINE_enum(
    "precision", "float32", get_args(config_lib.Precision), "Precision of matrix products."
)
_SAMPLES = flags.DEFINE_integer("samples", 7, "Number of samples of every timing.", lower_bound=3)
_ONLY_TRACE = flags.DEFINE_bool("only_trace", False, "Skip the parts in isolation.")
_CORES = flags.DEFINE_integer(
    "cores",
    None,
    "Number of CPU cores for everything. Default: all, except for traces.",
    lower_bound=1,
)
_JSON = flags.DEFINE_string("json", None, "File for all measurements.")
_DATA_DIR = flags.DEFINE_string("data_dir", None, "Folder of events; default: the cache.")


def main(argv: Sequence[str]) -> int:
    """Measures, prints two tables, and writes the file."""
    del argv
    try:
        _bind(_CORES.value)
    except ValueError as error:
        return cli.complain(error, cli.USAGE)
    settings = runtime.prepare(1)
    runtime.set_up_jax(1)
    # Imported late: it imports JAX, which needs a configured process.
    from benchmarks.step import report, whole, workload
    from mlpf_jax.training import cost, state

    try:
        if _JSON.value:
            keeping.try_file(Path(_JSON.value))
        data_dir = Path(_DATA_DIR.value) if _DATA_DIR.value else source.default_data_dir()
        config = workload.run_config(
            _NETWORK.value,
            _BATCH.value,
            _NUM_ELEMENTS.value,
            precision=cast(config_lib.Precision, _PRECISION.value),
            stacks_chains=report.shows_products(),  # on accelerators, as the benchmark does
        )
        batch = workload.simulated_batch(config, data_dir)
    except (ValueError, OSError) as error:
        return cli.complain(error, cli.USAGE)
    traces_here = report.shows_products() or settings.num_cores == 1 or not _CAN_BIND
    try:
        found = report.measure(
            config,
            batch,
            num_samples=_SAMPLES.value,
            with_parts=not _ONLY_TRACE.value,
            with_traces=traces_here,
            tell=_tell,
        )
        if not traces_here:
            on_one_core = tuple(map(whole.from_document, _wholes_on_one_core()))
            found = dataclasses.replace(found, on_one_core=on_one_core)
    except (ValueError, RuntimeError) as error:
        return cli.complain(error, cli.FAILURE)
    print(report.text(found), end="")
    if _JSON.value:
        document = {
            "config": dataclasses.asdict(config),
            "flops_per_event": dataclasses.asdict(cost.graph_cost(config, state.shapes(config))),
            "environment": environment.describe() | {"runtime": dataclasses.asdict(settings)},
            **dataclasses.asdict(found),
        }
        encoded = json.dumps(document, indent=1, allow_nan=False) + "\n"
        try:
            keeping.write_file(Path(_JSON.value), encoded.encode())
        except OSError as error:
            return cli.complain(error, cli.FAILURE)
    untraced = [one for one in (*found.wholes, *found.on_one_core) if one.no_breakdown]
    for one in untraced:
        cli.complain(f"{one.name} was not traced: {one.no_breakdown}", cli.FAILURE)
    return cli.FAILURE if untraced else 0


def _bind(num_cores: int | None) -> None:
    """Restricts this process to `num_cores` of its cores, if given.

    Raises:
        ValueError: if there are fewer cores, or the system does not support it.
    """
    if num_cores is None:
        return
    if not _CAN_BIND:
        raise ValueError("--cores: this system does not let a process choose its cores.")
    if num_cores > runtime.count_cores():
        raise ValueError(f"--cores={num_cores}: this process may use {runtime.count_cores()}.")
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:num_cores])


def _tell(line: str) -> None:
    print(line, file=sys.stderr)


def _wholes_on_one_core() -> list[dict[str, Any]]:
    """Returns the whole steps as measured by a process on one core.

    Raises:
        RunFailedError: if it fails.
    """
    _tell("measuring and tracing whole steps on one core")
    with tempfile.TemporaryDirectory(prefix="mlpf-jax-parts-") as folder:
        found, log = Path(folder) / "found.json", Path(folder) / "log.txt"
        own = ["--only_trace", "--cores=1", f"--samples={_SAMPLES_ON_ONE_CORE}", f"--json={found}"]
        own.append(f"--precision={_PRECISION.value}")
        network = f"--network={_NETWORK.value}"
        size = [f"--batch={_BATCH.value}", f"--num_elements={_NUM_ELEMENTS.value}"]
        data = [f"--data_dir={_DATA_DIR.value}"] if _DATA_DIR.value else []
        processes.run(
            [sys.executable, "-m", "benchmarks.step", *own, network, *size, *data],
            folder=Path.cwd(),
            environ=os.environ,
            log=log,
            timeout_s=_TIMEOUT_S,
        )
        return json.loads(found.read_text())["wholes"]


if __name__ == "__main__":
    cli.run(main)
