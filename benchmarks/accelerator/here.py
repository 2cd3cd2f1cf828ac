"""Describes the devices of this machine: their driver, memory and clocks, versions and packages.

python -m benchmarks.accelerator.here --json=FILE
"""

import json
from collections.abc import Sequence
from pathlib import Path

import jax
from absl import flags

from benchmarks.accelerator import facts
from mlpf_jax import cli, keeping
from mlpf_jax.run import devices

_JSON = flags.DEFINE_string("json", None, "File for the description.")
_VIRTUAL = flags.DEFINE_integer("num_devices", 1, "Number of virtual devices of a CPU.")


def main(argv: Sequence[str]) -> int:
    """Describes, and writes the file."""
    del argv
    jax.config.update("jax_num_cpu_devices", _VIRTUAL.value)
    try:
        found = devices.find("auto")
    except ValueError as error:
        return cli.complain(error, cli.FAILURE)
    told = facts.describe(found.devices) | {"why_cpu": found.fallback}
    text = json.dumps(told, indent=1, default=str) + "\n"
    print(text)
    if _JSON.value:
        try:
            keeping.write_file(Path(_JSON.value), text.encode())
        except OSError as error:
            return cli.complain(error, cli.FAILURE)
    return 0


if __name__ == "__main__":
    cli.run(main)
