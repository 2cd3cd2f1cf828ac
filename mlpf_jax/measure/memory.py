"""Memory of a compiled step, and memory limit and peak use of a device, in bytes."""

import os
from typing import Any

import jax

from mlpf_jax.measure import records, slot


def of_step(compiled: jax.stages.Compiled) -> records.StepMemory:
    """Returns the compiler's memory plan of a step.

    Raises:
        RuntimeError: if the back end does not provide it.
    """
    analysis = compiled.memory_analysis()
    if analysis is None:
        raise RuntimeError("this back end does not report the memory of a compiled step.")
    return records.StepMemory(
        argument_bytes=analysis.argument_size_in_bytes,
        output_bytes=analysis.output_size_in_bytes,
        alias_bytes=analysis.alias_size_in_bytes,
        temporary_bytes=analysis.temp_size_in_bytes,
    )


def peak_bytes(device: Any) -> int | None:
    """Returns the peak memory use of a jax.Device in bytes, or None if it is not recorded."""
    return _stats(device).get("peak_bytes_in_use")


def limit_bytes(device: Any, num_sharing: int) -> int | None:
    """Returns the memory limit of one jax.Device in bytes, or None if unknown.

    For a CPU device it is an equal share of the memory that this process can still allocate: the
    free memory of the machine, further limited by resource limits and control groups.
    """
    if device.platform != "cpu":
        return _stats(device).get("bytes_limit")
    free = slot.free_memory_bytes()
    return None if free is None else free // num_sharing


def _stats(device: Any) -> dict[str, Any]:
    """Returns the counters of an allocator; a plug-in without any returns None or raises."""
    try:
        return device.memory_stats() or {}
    except jax.errors.JaxRuntimeError:
        return {}


def require_room(step: records.StepMemory, platform: str, num_devices: int) -> None:
    """Refuses a step that a CPU's devices can never have memory for: the process would be killed.

    Accelerators tell of it themselves. What is free at the moment is not asked: part of what is
    taken belongs to this process already.

    Raises:
        MemoryError: if the step needs more than there is, swap space included.
    """
    there = slot.read().memory_bytes if platform == "cpu" else None
    needed = step.total_bytes * num_devices
    if there is not None and needed > there + slot.free_swap_bytes():
        raise MemoryError(
            f"a step needs {needed / 2**30:.1f} GiB, and there are {there / 2**30:.1f} GiB"
        )


def peak_process_bytes() -> int | None:
    """Returns the peak resident set size of this process in bytes, or None if unknown."""
    try:
        import resource
    except ImportError:
        return None
    unit = 1 if os.uname().sysname == "Darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
