"""Descriptions of devices to compile for, without having the devices."""

import dataclasses
import functools
import os
from pathlib import Path
from typing import Literal

import jax
from jax.experimental import topologies
from jax.sharding import AbstractDevice

from mlpf_jax import errors

Platform = Literal["cuda", "rocm", "tpu"]

DESCRIPTIONS = Path(__file__).parent  # of GPUs, as XLA reads them

# The platform of each target, by the name of its description: a file here, or libtpu's topology.
PLATFORMS: dict[str, Platform] = {
    "h200": "cuda",
    "a100": "cuda",
    "mi300": "rocm",
    "v5p:2x2x1": "tpu",
    "v6e:2x2x1": "tpu",
}
# What to lower for where there is no compiler.
ABSENT: dict[Platform, AbstractDevice] = {
    "cuda": AbstractDevice("NVIDIA H200", None, "cuda"),
    "rocm": AbstractDevice("AMD Instinct MI300X", None, "rocm"),
    "tpu": AbstractDevice("TPU v5", 1, "tpu"),
}
# CUDA's plugin and libtpu refuse to load without their devices, unless configured.
_SETTINGS = {
    "JAX_SKIP_CUDA_CONSTRAINTS_CHECK": "1",
    "TPU_SKIP_MDS_QUERY": "1",
    "TPU_WORKER_HOSTNAMES": "localhost",
    "TPU_ACCELERATOR_TYPE": "v5p-8",
    "ALLOW_MULTIPLE_LIBTPU_LOAD": "1",  # nothing is run: no chip that processes could compete for
}


@dataclasses.dataclass(frozen=True)
class Target:
    """A device to compile for, or the reason why there is no compiler for it here."""

    name: str
    device: jax.Device | None
    reason: str

    @property
    def platform(self) -> Platform:
        """JAX's name of the compiler."""
        return PLATFORMS[self.name]


def prepare() -> None:
    """Lets the compilers load without their devices. Must be called before JAX looks for any."""
    os.environ.update(_SETTINGS)
    jax.config.update("jax_platforms", "cpu")


@functools.cache
def describe(name: str) -> Target:
    """Returns one device: a GPU, or one chip of a TPU."""
    platform = PLATFORMS[name]
    if platform == "tpu":
        described = {"topology_name": name}
    else:
        config = (DESCRIPTIONS / f"{name}.txtpb").read_text()
        described = {"topology": "1x1x1", "target_config": config}
    try:
        topology = topologies.get_topology_desc(platform=platform, **described)
    except (NotImplementedError, RuntimeError) as error:
        return Target(name, None, errors.one_line(error))
    return Target(name, topology.devices[0], "")
