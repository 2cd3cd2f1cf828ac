"""Descriptions of devices to compile for, without having the devices."""

import dataclasses
import os
from collections.abc import MutableMapping
from pathlib import Path
from typing import Literal

import jax
from jax.experimental import topologies
from jax.sharding import AbstractDevice

from mlpf_jax import errors

Platform = Literal["cuda", "tpu"]

_H200 = Path(__file__).parent / "h200.txtpb"
_TPU_TOPOLOGY = "v5p:2x2x1"
# What to lower for where there is no compiler.
ABSENT: dict[Platform, AbstractDevice] = {
    "cuda": AbstractDevice("NVIDIA H200", None, "cuda"),
    "tpu": AbstractDevice("TPU v5", 1, "tpu"),
}
# CUDA's plugin and libtpu refuse to load without their devices, unless configured.
_SETTINGS = {
    "JAX_PLATFORMS": "cpu",
    "JAX_SKIP_CUDA_CONSTRAINTS_CHECK": "1",
    "TPU_SKIP_MDS_QUERY": "1",
    "TPU_WORKER_HOSTNAMES": "localhost",
    "TPU_ACCELERATOR_TYPE": "v5p-8",
}


@dataclasses.dataclass(frozen=True)
class Target:
    """A device to compile for, or the reason why there is no compiler for it here."""

    device: jax.Device | None
    reason: str


def prepare(environ: MutableMapping[str, str] = os.environ) -> None:
    """Lets the compilers load without their devices. Must be called before JAX's first use."""
    environ.update(_SETTINGS)


def describe(platform: Platform) -> Target:
    """Returns one device of the platform: an H200, or one chip of a TPU v5p."""
    try:
        if platform == "cuda":
            topology = topologies.get_topology_desc(
                platform="cuda", topology="1x1x1", target_config=_H200.read_text()
            )
        else:
            topology = topologies.get_topology_desc(platform="tpu", topology_name=_TPU_TOPOLOGY)
    except (NotImplementedError, RuntimeError) as error:
        return Target(None, errors.one_line(error))
    return Target(topology.devices[0], "")
