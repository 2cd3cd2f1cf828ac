"""Configures the process before JAX is imported (allocator, XLA flags), and then JAX itself.

JAX must not be imported before this module has run. All settings made here are recorded in the
result, because they can change a score by 15 to 40 % on a CPU.
"""

import ctypes
import dataclasses
import importlib.metadata
import os
import sys
from collections.abc import Mapping, MutableMapping

from mlpf_jax.measure import jax_options, process, slot, variables
from mlpf_jax.measure import xla_flags as xla_flags_lib

# glibc's mallopt parameters (malloc.h).
_M_TRIM_THRESHOLD, _M_MMAP_MAX, _M_ARENA_MAX = -1, -4, -8

# With many virtual devices on few cores, devices can reach an all-reduce minutes apart. By default,
# XLA's CPU back end aborts the process after 40 seconds.
_CPU_COLLECTIVE_TIMEOUT_S = 3600
# XLA's YNN library computes the batched products of the pairs on one thread: without it, a training
# step of one event took 2.87 s instead of 3.12 s on two cores of an AMD EPYC (Zen). The flag is
# experimental, so it is set only for tested versions of jaxlib: XLA aborts at unknown flags.
_YNN = "--xla_cpu_experimental_ynn_fusion_type"
_JAXLIB_WITH_YNN = "0.10."
_XLA_FLAGS: dict[str, str] = {
    "--xla_cpu_collective_call_warn_stuck_timeout_seconds": str(_CPU_COLLECTIVE_TIMEOUT_S),
    "--xla_cpu_collective_call_terminate_timeout_seconds": str(_CPU_COLLECTIVE_TIMEOUT_S),
    # The width of AVX-512: exp and similar functions use whole registers. No effect on CPUs without
    # AVX-512; see benchmarks/README.md for the ratio.
    "--xla_cpu_prefer_vector_width": "512",
    # Same bits in every run. It also selects algorithms without timing them. The cost of this is
    # untested, like everything here on a GPU.
    "--xla_gpu_deterministic_ops": "true",
}


# XLA's CPU back end uses at most this many threads (kMaxIntraOpThreads in its cpu_client), and a
# device that waits in a collective occupies one.
_MOST_CPU_DEVICES = 256


@dataclasses.dataclass(frozen=True)
class RuntimeSettings:
    """The settings, as recorded in the result."""

    xla_flags: str  # the user's and ours; paths in them are replaced
    allocator: str  # "one arena, kept", "default", or the library that replaces glibc's
    cpu_dispatch: str  # of steps on a CPU: "inline", in the calling thread, or "asynchronous"
    num_cores: int  # that this process can keep busy
    variables: dict[str, str] = dataclasses.field(default_factory=dict)  # of effect on speed
    pinned_variables: tuple[str, ...] = ()  # set by the user, but ignored


def prepare(num_devices: int, environ: MutableMapping[str, str] = os.environ) -> RuntimeSettings:
    """Makes the settings that must precede the import of JAX. The user's XLA flags are kept.

    Raises:
        ValueError: if a variable of the environment forbids a meaningful run, XLA's flags cannot
            be used, or there are fewer threads than devices; one line with the way out.
        RuntimeError: if JAX has been imported, because the settings would silently have no effect.
    """
    if "jax" in sys.modules:
        raise RuntimeError("runtime.prepare must be called before the first import of jax.")
    _check_threads(num_devices, slot.free_threads())
    if refusal := variables.refusal(environ):
        raise ValueError(refusal)
    given = xla_flags_lib.read(environ.get("XLA_FLAGS", ""))
    pinned = variables.pin(environ)
    version = _jaxlib_version()
    if given and version:
        xla_flags_lib.check(given, environ)
    known = {_YNN: ""} if version.startswith(_JAXLIB_WITH_YNN) else {}
    environ["XLA_FLAGS"] = xla_flags_lib.join(given, _XLA_FLAGS | known)
    found = variables.recorded(environ)
    if given:
        found["XLA_FLAGS"] = xla_flags_lib.shown(xla_flags_lib.join(given, {}))
    environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "1")  # XLA's log messages on stderr
    return RuntimeSettings(
        xla_flags=xla_flags_lib.shown(environ["XLA_FLAGS"]),
        # With several virtual devices at once, a single arena grows without bound.
        allocator=_allocator(keeps_memory=num_devices == 1),
        cpu_dispatch="inline" if _computes_inline(num_devices) else "asynchronous",
        num_cores=count_cores(),
        variables=found,
        pinned_variables=pinned,
    )


def set_up_jax(num_devices: int) -> None:
    """Sets JAX's own configuration, before it initialises its devices."""
    import jax

    for option, value in jax_options.FIXED.items():
        if option in jax.config.values:
            jax.config.update(option, value)
    jax.config.update("jax_num_cpu_devices", num_devices)
    jax.config.update("jax_cpu_enable_async_dispatch", not _computes_inline(num_devices))


def no_device(reason: str, environ: Mapping[str, str] = os.environ) -> str:
    """Returns an error message for a JAX without devices, which names the responsible variable."""
    wanted = environ.get("JAX_PLATFORMS") or environ.get("JAX_PLATFORM_NAME")
    if not wanted:
        return f"JAX finds no device: {reason}"
    return (
        f"JAX_PLATFORMS={wanted}: JAX can use no such device here. Unset it, or install its back "
        f"end (make venv BACKEND=...).{f' ({reason[:160]})' if reason else ''}"
    )


def _computes_inline(num_devices: int) -> bool:
    """Whether a CPU computes a step in the calling thread.

    With asynchronous dispatch, a step allocates its memory while the previous one still holds its
    own: the heap grew from 1.7 to 4.6 GB over six training steps, and steps in which it grew took
    up to three times as long. Several devices need asynchronous dispatch to run at once.
    """
    return num_devices == 1


def _check_threads(num_devices: int, free: int | None) -> None:
    """Refuses numbers of virtual devices that would deadlock or make XLA abort."""
    if num_devices > _MOST_CPU_DEVICES:
        raise ValueError(
            f"--num_devices={num_devices}: a CPU can emulate at most {_MOST_CPU_DEVICES}."
        )
    needed = 2 * num_devices + 10  # counted on two cores, with 64 to 250 devices
    if num_devices > 1 and free is not None and needed > free:
        raise ValueError(
            f"--num_devices={num_devices}: needs {needed} threads, but `ulimit -u` or the control "
            f"group's pids.max allows only {max(0, free)}: choose fewer devices, or raise the "
            "limit."
        )


def _jaxlib_version() -> str:
    """Returns the installed version, or "" if there is none, as in the peers' environments."""
    try:
        return importlib.metadata.version("jaxlib")
    except importlib.metadata.PackageNotFoundError:
        return ""


def count_cores() -> int:
    """Returns the number of cores available to this process."""
    return slot.num_cores()


def _allocator(*, keeps_memory: bool) -> str:
    """Configures glibc's allocator; returns the allocator in use, which may be another one."""
    library = process.malloc()
    if library not in ("libc", None):
        return library
    return _keep_memory() if keeps_memory else "default"


def _keep_memory() -> str:
    """Makes glibc keep freed memory: XLA's CPU back end frees and allocates 1 GB in every step, and
    half of the time would be spent on page faults. No effect without glibc.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return "default"
    done = [
        mallopt(parameter, value)
        for parameter, value in ((_M_MMAP_MAX, 0), (_M_TRIM_THRESHOLD, -1), (_M_ARENA_MAX, 1))
    ]
    return "one arena, kept" if all(done) else "default"
