"""Runs a step on all devices of a run: the state is replicated, the batch is split."""

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
    """Some devices, and functions that place values on those of this process.

    Without other processes, that is all of them.
    """

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
        sharding = NamedSharding(self._mesh, P())
        if self._is_alone:
            return jax.device_put(jax.tree.map(_to_host, tree), sharding)
        return jax.tree.map(lambda leaf: _copied(leaf, sharding), tree)

    def split(self, batch: PyTree) -> PyTree:
        """Places each entry of the first axis on its device, among those of this process."""
        sharding = NamedSharding(self._mesh, P(step_lib.AXIS))
        if self._is_alone:
            return jax.device_put(batch, sharding)
        return jax.tree.map(lambda leaf: self._joined(leaf, sharding), batch)

    @functools.cached_property
    def own(self) -> tuple[int, ...]:
        """The places of the devices of this process among all."""
        return tuple(
            place
            for place, one in enumerate(self.devices)
            if one.process_index == one.client.process_index()
        )

    @property
    def _is_alone(self) -> bool:
        return len(self.own) == len(self.devices)

    def _joined(self, leaf, sharding):
        parts = [
            jax.device_put(leaf[number : number + 1], self.devices[place])
            for number, place in enumerate(self.own)
        ]
        shape = (len(self.devices), *leaf.shape[1:])
        return jax.make_array_from_single_device_arrays(shape, sharding, parts)

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
    return leaf if _is_key(leaf) else np.asarray(leaf)


def _is_key(leaf) -> bool:
    return isinstance(leaf, jax.Array) and jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key)


def _copied(leaf, sharding):
    """Returns a copy on every device of all processes, which give the same value."""
    if _is_key(leaf):
        data = _copied(jax.random.key_data(leaf), sharding)
        return jax.random.wrap_key_data(data, impl=jax.random.key_impl(leaf))
    content = np.asarray(leaf)
    return jax.make_array_from_callback(content.shape, sharding, lambda index: content[index])
