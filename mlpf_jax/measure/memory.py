"""Bytes that a compiled step needs, and that a device has and used."""

import os

import jax

from mlpf_jax.measure import records, slot


def of_step(compiled: jax.stages.Compiled) -> records.StepMemory:
    """Reads what the compiler planned.

    Raises:
        RuntimeError: if the back end does not tell.
    """
    analysis = compiled.memory_analysis()
    if analysis is None:
        raise RuntimeError("this back end does not tell how much memory a compiled step needs.")
    return records.StepMemory(
        argument_bytes=analysis.argument_size_in_bytes,
        output_bytes=analysis.output_size_in_bytes,
        alias_bytes=analysis.alias_size_in_bytes,
        temporary_bytes=analysis.temp_size_in_bytes,
    )


def peak_bytes(device: jax.Device) -> int | None:
    """Returns the most that a device ever held, or None where it does not count."""
    return (device.memory_stats() or {}).get("peak_bytes_in_use")


def limit_bytes(device: jax.Device, num_sharing: int) -> int | None:
    """Returns what one device may use, or None if unknown.

    For a CPU device it is an equal share of the memory that this process can still take: the free
    memory of the machine, or what limits on the process and its control groups leave of it.
    """
    if device.platform != "cpu":
        return (device.memory_stats() or {}).get("bytes_limit")
    free = slot.free_memory_bytes()
    return None if free is None else free // num_sharing


def peak_process_bytes() -> int | None:
    """Returns the largest resident set of this process, or None where the system does not tell."""
    try:
        import resource
    except ImportError:
        return None
    unit = 1 if os.uname().sysname == "Darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
