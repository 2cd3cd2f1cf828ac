"""Sums over the devices of all processes: checked with known numbers, and used to send arrays."""

import contextlib
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

_AXIS = "all"
_SIZES = (1, 1_000, 300_001)  # float32, of which the last is 1.2 MB


def known(devices: Sequence[jax.Device], size: int) -> tuple[dict[int, np.ndarray], np.ndarray]:
    """Returns rows of integers for the devices of this process, and their exact sum over all."""
    base, number = np.arange(size, dtype=np.float32) % 1021, len(devices)
    rows = {i: base + np.float32(i) for i, one in enumerate(devices) if _is_mine(one)}
    return rows, number * base + np.float32(number * (number - 1) // 2)


def check_sums(devices: Sequence[jax.Device]) -> None:
    """Sums known integers over all devices, in which every float32 sum is exact.

    All processes must call this at the same time.

    Raises:
        RuntimeError: if a sum is wrong.
    """
    number = len(devices)
    for size in _SIZES:
        rows, expected = known(devices, size)
        with _without_output():  # gloo greets on standard output
            found = np.asarray(_sum(devices, rows))
        if not np.array_equal(found, expected):
            wrong = int(np.count_nonzero(found != expected))
            raise RuntimeError(
                f"the all-reduce over {number} devices is wrong: {wrong} of {size} sums of known "
                "numbers differ. Nothing that these hosts compute together can be trusted."
            )


def from_first(devices: Sequence[jax.Device], tree: Any) -> Any:
    """Returns the arrays of process 0 in all processes, to the bit, as NumPy arrays.

    The arrays of the others only have to have the same shapes and types.
    """
    leaves, structure = jax.tree.flatten(jax.tree.map(np.asarray, tree))
    content = b"".join(leaf.tobytes() for leaf in leaves)
    # As integers, because a sum of floats loses the sign of zero.
    row = np.frombuffer(content.ljust(-(-len(content) // 4) * 4, b"\0"), np.int32)
    rows = {
        i: row if i == 0 else np.zeros_like(row) for i, one in enumerate(devices) if _is_mine(one)
    }
    found = np.asarray(_sum(devices, rows)).tobytes()
    arrays, start = [], 0
    for leaf in leaves:
        part = np.frombuffer(found, leaf.dtype, leaf.size, start)
        arrays.append(part.reshape(leaf.shape))
        start += leaf.nbytes
    return jax.tree.unflatten(structure, arrays)


@contextlib.contextmanager
def _without_output() -> Iterator[None]:
    """Hides what libraries write to standard output within the block."""
    sys.stdout.flush()
    kept = os.dup(1)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 1)
        yield
    finally:
        os.dup2(kept, 1)
        os.close(kept)
        os.close(nowhere)


def _is_mine(device: jax.Device) -> bool:
    return device.process_index == jax.process_index()


def placed(devices: Sequence[jax.Device], rows: Mapping[int, np.ndarray]) -> jax.Array:
    """Returns an array with a row on each device; each process gives those of its devices."""
    sharding = NamedSharding(Mesh(np.array(devices), (_AXIS,)), P(_AXIS))
    shards = [jax.device_put(row[None], devices[i]) for i, row in rows.items()]
    shape = (len(devices), *next(iter(rows.values())).shape)
    return jax.make_array_from_single_device_arrays(shape, sharding, shards)


def all_reduce(devices: Sequence[jax.Device]) -> jax.stages.Wrapped:
    """Returns a function that sums the rows of a placed array, with the sum on every device."""
    add = jax.shard_map(
        lambda x: jax.lax.psum(x[0], _AXIS),
        mesh=Mesh(np.array(devices), (_AXIS,)),
        in_specs=P(_AXIS),
        out_specs=P(),
    )
    return jax.jit(add)


def _sum(devices: Sequence[jax.Device], rows: Mapping[int, np.ndarray]) -> jax.Array:
    return all_reduce(devices)(placed(devices, rows))
