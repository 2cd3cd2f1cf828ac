"""Runs a step on all local devices: the state is replicated, the batch is split."""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np
from jax.sharding import AbstractDevice, AbstractMesh, AxisType, Mesh, NamedSharding
from jax.sharding import PartitionSpec as P
from jaxtyping import PyTree

from mlpf_jax import config as config_lib
from mlpf_jax.training import step as step_lib


def available(parallel: config_lib.Parallel) -> config_lib.Parallel:
    """Returns how this JAX can program the devices: one without pmap does it by shard_map.

    Both give the same bits.
    """
    return parallel if hasattr(jax, "pmap") else "shard_map"


class Devices:
    """Some local devices, and functions that place values on them."""

    def __init__(self, devices: Sequence[jax.Device], parallel: config_lib.Parallel):
        self.devices = tuple(devices)
        self._parallel = available(parallel)
        self._mesh: Mesh | AbstractMesh = Mesh(np.array(self.devices), (step_lib.AXIS,))

    @classmethod
    def described(cls, device: AbstractDevice) -> "Devices":
        """Returns one device that is not there: a step can be lowered for it, not compiled."""
        found = cls((), "shard_map")
        found._mesh = AbstractMesh((1,), (step_lib.AXIS,), (AxisType.Auto,), abstract_device=device)
        return found

    def replicate(self, tree: PyTree) -> PyTree:
        """Copies a value from the host to every device. A copy of a device array could share its
        memory, and donating one would then delete the other.
        """
        return jax.device_put(jax.tree.map(_to_host, tree), NamedSharding(self._mesh, P()))

    def split(self, batch: PyTree) -> PyTree:
        """Places each entry of the first axis on its device."""
        return jax.device_put(batch, NamedSharding(self._mesh, P(step_lib.AXIS)))

    def spread_train_step(self, function: Callable) -> Any:
        """Returns function(state, batch, key) on all devices; the function donates its state."""
        if self._parallel == "pmap":
            return self._pmap(function, in_axes=(None, 0, None), out_axes=None, donate_argnums=0)
        return self._shard_map(function, in_specs=(P(), P(step_lib.AXIS), P()), donate_argnums=0)

    def spread_infer_step(self, function: Callable) -> Any:
        """Returns function(state, batch) on all devices."""
        if self._parallel == "pmap":
            return self._pmap(function, in_axes=(None, 0), out_axes=None)
        return self._shard_map(function, in_specs=(P(), P(step_lib.AXIS)))

    def _pmap(self, function, **options):
        return jax.pmap(function, axis_name=step_lib.AXIS, devices=self.devices, **options)

    def _shard_map(self, function, *, in_specs, **options):
        @functools.wraps(function)
        def without_device_axis(state, batch, *rest):
            # pmap strips the device axis; here it stays, with length 1.
            return function(state, jax.tree.map(lambda x: x[0], batch), *rest)

        spread = jax.shard_map(
            without_device_axis, mesh=self._mesh, in_specs=in_specs, out_specs=P(), check_vma=False
        )
        return jax.jit(spread, **options)


def _to_host(leaf):
    if isinstance(leaf, jax.Array) and jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key):
        return leaf
    return np.asarray(leaf)
