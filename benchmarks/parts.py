"""Measures the parts of a step by themselves, and says where the time of a whole step goes.

    python -m benchmarks.parts --json=FILE
    python -m benchmarks.parts --batch=4 --num_elements=6400 --json=FILE

Every part is compiled and timed alone, forward and with its gradients, and compared with what this
machine can do at most: products of matrices and copies, both measured first. Then one training step
and one inference step are traced by the profiler, and their operations added up by part. Exit
status: 0, 1 if a measurement fails, 2 for wrong usage.
"""

import dataclasses
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from absl import flags

from mlpf_jax import atomic, cli, runtime
from mlpf_jax.events import source
from mlpf_jax.results import environment

if TYPE_CHECKING:
    from benchmarks.step import report

_BATCH = flags.DEFINE_integer("batch", 1, "Events per step.")
_NUM_ELEMENTS = flags.DEFINE_integer("num_elements", 6400, "Per event, padding included.")
_NETWORK = flags.DEFINE_enum("network", "published", ["published", "small"], "Its sizes.")
_SAMPLES = flags.DEFINE_integer("samples", 7, "Of every timing.", lower_bound=3)
_ONLY_TRACE = flags.DEFINE_bool("only_trace", False, "Leave out the parts by themselves.")
_JSON = flags.DEFINE_string("json", None, "File for all that was measured.")
_DATA_DIR = flags.DEFINE_string("data_dir", None, "Folder of events; default: the cache.")


def main(argv: Sequence[str]) -> int:
    """Measures, prints two tables, and writes the file."""
    del argv
    settings = runtime.prepare(1)
    # Late: it imports JAX, which must find the process set up.
    from benchmarks.step import report, workload

    data_dir = Path(_DATA_DIR.value) if _DATA_DIR.value else source.default_data_dir()
    try:
        config = workload.run_config(_NETWORK.value, _BATCH.value, _NUM_ELEMENTS.value)
        batch = workload.simulated_batch(config, data_dir)
    except (ValueError, OSError) as error:
        return cli.complain(str(error), cli.USAGE)
    try:
        found = report.measure(
            config,
            batch,
            num_samples=_SAMPLES.value,
            with_parts=not _ONLY_TRACE.value,
            tell=lambda line: print(line, file=sys.stderr),
        )
    except (ValueError, RuntimeError) as error:
        return cli.complain(str(error).splitlines()[0], cli.FAILURE)
    print(report.text(found), end="")
    if _JSON.value:
        surroundings = environment.describe() | {"runtime": dataclasses.asdict(settings)}
        atomic.write_file(Path(_JSON.value), _encoded(found, config, surroundings))
    return 0


def _encoded(found: "report.Report", config: Any, surroundings: dict[str, Any]) -> bytes:
    document = {
        "config": dataclasses.asdict(config),
        "environment": surroundings,
        **dataclasses.asdict(found),
    }
    return (json.dumps(document, indent=1, allow_nan=False) + "\n").encode()


if __name__ == "__main__":
    cli.run(main)
