"""Measures the device's peak rates: matrix products in every precision, and copies.

python -m benchmarks.accelerator.roofs --json=FILE
"""

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import get_args

import jax
from absl import flags

from benchmarks.step import roofs
from mlpf_jax import cli, keeping
from mlpf_jax import config as config_lib
from mlpf_jax.measure import peaks
from mlpf_jax.run import devices

_SIZE = flags.DEFINE_integer("size", 8192, "Rows and columns of the products.", lower_bound=1)
_COPIED = flags.DEFINE_integer("copied_mb", 1024, "MiB that are copied.", lower_bound=1)
_JSON = flags.DEFINE_string("json", None, "File for the rates.")


def main(argv: Sequence[str]) -> int:
    """Measures each precision that the device has, prints a line for it, and writes the file."""
    del argv
    if _JSON.value:
        try:
            keeping.try_file(Path(_JSON.value))
        except OSError as error:
            return cli.complain(error, cli.USAGE)
    first = jax.local_devices()[0]
    capability = str(getattr(first, "compute_capability", ""))
    found = {}
    for precision in get_args(config_lib.Precision):
        if precision == "tf32" and not devices.has_tf32(first.platform, capability):
            continue
        one = roofs.measure(precision, matrix_size=_SIZE.value, copied_bytes=_COPIED.value * 2**20)
        found[precision] = dataclasses.asdict(one)
        print(f"{precision}: {one}", flush=True)
        if _JSON.value:  # at once, because the next precision may fail
            try:
                _write(Path(_JSON.value), first.device_kind, found)
            except OSError as error:
                return cli.complain(error, cli.FAILURE)
    return 0


def _write(path: Path, device_kind: str, found: dict[str, dict[str, float]]) -> None:
    document = {
        "device": device_kind,
        "roofs": found,
        "published": dataclasses.asdict(peaks.find(device_kind)),
    }
    keeping.write_file(path, json.dumps(document, indent=1).encode())


if __name__ == "__main__":
    cli.run(main)
