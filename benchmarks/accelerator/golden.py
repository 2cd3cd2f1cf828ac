"""Compares the network on this device with the golden data, in every precision.

    python -m benchmarks.accelerator.golden --json=FILE
    python -m benchmarks.accelerator.golden --pair_kernel=mosaic --json=FILE

In float32 with XLA's pairs, every quantity is compared as `mlpf-jax-verify` does. In other
precisions some elements have other hashes and so other neighbours, so totals are compared: losses,
and the norms of the differences of outputs and gradients. Exit status: 0 if all agree, 1 if not, 2
for wrong usage.
"""

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast, get_args

import jax
import numpy as np
from absl import flags

from benchmarks.accelerator import agreement
from mlpf_jax import cli, errors, keeping
from mlpf_jax import config as config_lib
from mlpf_jax.run import devices
from mlpf_jax.verify import computed as computed_lib
from mlpf_jax.verify import golden, parity

_PRECISIONS = flags.DEFINE_multi_enum(
    "precision", None, get_args(config_lib.Precision), "Default: all that the device has."
)
_KERNEL = flags.DEFINE_enum(
    "pair_kernel", "xla", get_args(config_lib.PairKernel), "Implementation of the pairs."
)
_JSON = flags.DEFINE_string("json", None, "File for the differences.")


def main(argv: Sequence[str]) -> int:
    """Compares each precision, prints a line for it, and writes the file."""
    del argv
    first = jax.local_devices()[0]
    wanted = cast(
        Sequence[config_lib.Precision], _PRECISIONS.value or get_args(config_lib.Precision)
    )
    if _JSON.value:
        try:
            keeping.try_file(Path(_JSON.value))
        except OSError as error:
            return cli.complain(error, cli.USAGE)
    case = golden.load(golden.SMALL_CASE)
    found: dict[str, Any] = {}
    for precision in wanted:
        found[precision] = _compare(case, precision, first)
        print(f"{precision}: {found[precision]}", flush=True)
        if _JSON.value:  # at once, because the next precision may end the process
            try:
                _write(Path(_JSON.value), first.device_kind, found)
            except OSError as error:
                return cli.complain(error, cli.FAILURE)
    failed = [
        f"{precision} ({one['error'][:80]})" if "error" in one else precision
        for precision, one in found.items()
        if not one.get("holds", True)
    ]
    if failed:
        return cli.complain(f"not as the golden data: {', '.join(failed)}", cli.FAILURE)
    return 0


def _compare(
    case: golden.GoldenCase, precision: config_lib.Precision, device: jax.Device
) -> dict[str, Any]:
    """Returns the outcome; an error of the compiler or the device is one, too."""
    capability = str(getattr(device, "compute_capability", ""))
    if precision == "tf32" and not devices.has_tf32(device.platform, capability):
        return {"skipped": f"{device.device_kind} has no TF32"}
    try:
        if precision == "float32" and _KERNEL.value == "xla":
            return _all_quantities(case)
        return _totals(case, precision)
    except RuntimeError as error:
        return {"holds": False, "error": errors.one_line(error)[:300]}


def _all_quantities(case: golden.GoldenCase) -> dict[str, Any]:
    verdict = parity.verify(case)
    failed = [check.key for check in verdict.checks if not check.holds]
    return {"holds": verdict.holds, "quantities": len(verdict.checks), "failed": failed[:20]}


def _totals(case: golden.GoldenCase, precision: config_lib.Precision) -> dict[str, Any]:
    model = dataclasses.replace(
        case.model_config,
        precision=precision,
        pair_kernel=cast(config_lib.PairKernel, _KERNEL.value),
    )
    computed = computed_lib.compute(case, np.dtype(np.float32), model)
    measured = agreement.differences(case.arrays, computed)
    return {
        "holds": agreement.agrees(measured, precision),
        "measured": dataclasses.asdict(measured),
        "allowed": dataclasses.asdict(agreement.LIMITS[precision]),
    }


def _write(path: Path, device_kind: str, found: dict[str, Any]) -> None:
    document = {"device": device_kind, "pair_kernel": _KERNEL.value, "precisions": found}
    keeping.write_file(path, json.dumps(document, indent=1).encode())


if __name__ == "__main__":
    cli.run(main)
