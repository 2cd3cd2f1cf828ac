"""Checks the timing itself, with work of known or equal length.

    python -m benchmarks.timing_checks --json=FILE

Everything goes through the functions that time the benchmark (mlpf_jax/measure/timing.py). Exit
status: 0 if all checks pass, 1 if one fails, 2 for wrong usage.
"""

import dataclasses
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from absl import flags

from mlpf_jax import cli, keeping, runtime
from mlpf_jax.events import source
from mlpf_jax.measure import environment

if TYPE_CHECKING:
    from benchmarks.timing_checks import checks

_NETWORK = flags.DEFINE_enum(
    "network", "published", ["published", "small"], "Its sizes, for the real step."
)
_NUM_ELEMENTS = flags.DEFINE_integer("num_elements", 1280, "Elements per event, for the real step.")
_SAMPLES = flags.DEFINE_integer("samples", 10, "Number of samples of every timing.", lower_bound=6)
_JSON = flags.DEFINE_string("json", None, "File for the checks and every sample.")
_DATA_DIR = flags.DEFINE_string("data_dir", None, "Folder of events; default: the cache.")


def main(argv: Sequence[str]) -> int:
    """Runs all checks, prints a table, and writes the file."""
    del argv
    settings = runtime.prepare(1)
    runtime.set_up_jax(1)
    # Imported late: they import JAX, which needs a configured process.
    from benchmarks.step import workload
    from benchmarks.timing_checks import checks

    try:
        if _JSON.value:
            keeping.try_file(Path(_JSON.value))
        data_dir = Path(_DATA_DIR.value) if _DATA_DIR.value else source.default_data_dir()
        config = workload.run_config(_NETWORK.value, 1, _NUM_ELEMENTS.value)
        batch = workload.simulated_batch(config, data_dir)
    except (ValueError, OSError) as error:
        return cli.complain(error, cli.USAGE)

    def tell(line: str) -> None:
        print(line, file=sys.stderr)

    found = checks.run(config, batch, num_samples=_SAMPLES.value, tell=tell)
    print(checks.text(found), end="")
    if _JSON.value:
        surroundings = environment.describe() | {"runtime": dataclasses.asdict(settings)}
        try:
            keeping.write_file(Path(_JSON.value), _encoded(found, config, surroundings))
        except OSError as error:
            return cli.complain(error, cli.FAILURE)
    wrong = [check.name for check in found if not check.holds]
    if wrong:
        return cli.complain(f"does not hold: {', '.join(wrong)}", cli.FAILURE)
    return 0


def _encoded(found: "Sequence[checks.Check]", config: Any, surroundings: dict[str, Any]) -> bytes:
    document = {
        "config": dataclasses.asdict(config),
        "environment": surroundings,
        "checks": [dataclasses.asdict(check) for check in found],
    }
    return (json.dumps(document, indent=1, allow_nan=False) + "\n").encode()


if __name__ == "__main__":
    cli.run(main)
