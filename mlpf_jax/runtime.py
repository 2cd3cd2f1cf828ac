"""Sets up the process before JAX is imported (the allocator, XLA's flags), and then JAX itself.

Import nothing of JAX above this module. All that is set here is recorded in the result, for it can
change a score by 15 to 40 % on a CPU.
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

# With many virtual devices on few cores, devices reach an all-reduce minutes apart; by default
# XLA's CPU back end aborts the process after 40 seconds.
_CPU_COLLECTIVE_TIMEOUT_S = 3600
# Its YNN library walks the batched products of the pairs on one thread: without it a training step
# of one event took 2.87 s instead of 3.12 s on two cores of an AMD EPYC (Zen). Experimental, so a
# jaxlib that was not tried might not know the flag, and XLA aborts at one that it does not know.
_YNN = "--xla_cpu_experimental_ynn_fusion_type"
_JAXLIB_WITH_YNN = "0.10."
_XLA_FLAGS: dict[str, str] = {
    "--xla_cpu_collective_call_warn_stuck_timeout_seconds": str(_CPU_COLLECTIVE_TIMEOUT_S),
    "--xla_cpu_collective_call_terminate_timeout_seconds": str(_CPU_COLLECTIVE_TIMEOUT_S),
    # As wide as AVX-512 is: exp and its like run on whole registers. Without effect on CPUs that
    # have none; benchmarks/README.md has the ratio.
    "--xla_cpu_prefer_vector_width": "512",
    # Same bits from run to run. It chooses algorithms without timing them, too; what that costs is
    # untested, as all of this is on a GPU.
    "--xla_gpu_deterministic_ops": "true",
}


# XLA's CPU back end computes in at most this many threads (kMaxIntraOpThreads in its cpu_client),
# and a device that waits in a collective for another keeps one.
_MOST_CPU_DEVICES = 256


@dataclasses.dataclass(frozen=True)
class RuntimeSettings:
    """What was set, as the result records it."""

    xla_flags: str  # the user's and ours; a path in them is not told
    allocator: str  # "one arena, kept", "default", or the library that replaces glibc's
    cpu_dispatch: str  # of a CPU's steps: "inline", in the thread that calls, or "asynchronous"
    num_cores: int  # that this process can keep busy
    variables: dict[str, str] = dataclasses.field(default_factory=dict)  # that can change the speed
    pinned_variables: tuple[str, ...] = ()  # that a user set, and that were given no effect


def prepare(num_devices: int, environ: MutableMapping[str, str] = os.environ) -> RuntimeSettings:
    """Sets what must be set before JAX is imported. XLA flags that a user has set stay.

    Raises:
        ValueError: if a variable of the environment forbids a meaningful run, XLA's flags cannot
            be used, or there are fewer threads than devices; one line with the way out.
        RuntimeError: if JAX has been imported: then it would be too late, without a word from it.
    """
    if "jax" in sys.modules:
        raise RuntimeError("runtime.prepare comes before the first import of jax.")
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
    environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "1")  # XLA's chatter on stderr
    return RuntimeSettings(
        xla_flags=xla_flags_lib.shown(environ["XLA_FLAGS"]),
        # One arena grows without bound when several virtual devices run at once.
        allocator=_allocator(keeps_memory=num_devices == 1),
        cpu_dispatch="inline" if _computes_inline(num_devices) else "asynchronous",
        num_cores=count_cores(),
        variables=found,
        pinned_variables=pinned,
    )


def set_up_jax(num_devices: int) -> None:
    """Sets what JAX is told by its own configuration, before it looks for its devices."""
    import jax

    for option, value in jax_options.FIXED.items():
        if option in jax.config.values:
            jax.config.update(option, value)
    jax.config.update("jax_num_cpu_devices", num_devices)
    jax.config.update("jax_cpu_enable_async_dispatch", not _computes_inline(num_devices))


def no_device(reason: str, environ: Mapping[str, str] = os.environ) -> str:
    """Returns one line for a JAX that finds no device, naming the variable that asked for it."""
    wanted = environ.get("JAX_PLATFORMS") or environ.get("JAX_PLATFORM_NAME")
    if not wanted:
        return f"JAX finds no device: {reason}"
    return (
        f"JAX_PLATFORMS={wanted}: JAX can use no such device here. Unset it, or install its back "
        f"end (make venv BACKEND=...).{f' ({reason[:160]})' if reason else ''}"
    )


def _computes_inline(num_devices: int) -> bool:
    """Whether a CPU computes a step in the thread that calls it.

    Dispatched asynchronously, a step takes its memory while the one before it still holds its own:
    the heap grew from 1.7 to 4.6 GB over six training steps, and those in which it did took up to
    three times as long. Several devices have to run at once.
    """
    return num_devices == 1


def _check_threads(num_devices: int, free: int | None) -> None:
    """Refuses virtual devices that would wait for each other for ever, or that XLA aborts at."""
    if num_devices > _MOST_CPU_DEVICES:
        raise ValueError(
            f"--num_devices={num_devices}: a CPU can emulate at most {_MOST_CPU_DEVICES}."
        )
    needed = 2 * num_devices + 10  # counted on two cores, with 64 to 250 devices
    if num_devices > 1 and free is not None and needed > free:
        raise ValueError(
            f"--num_devices={num_devices}: takes {needed} threads, and {max(0, free)} are left by "
            "`ulimit -u` or the control group's pids.max: choose fewer devices, or raise the limit."
        )


def _jaxlib_version() -> str:
    """Returns the installed version; "" where there is none, as in the peers' environments."""
    try:
        return importlib.metadata.version("jaxlib")
    except importlib.metadata.PackageNotFoundError:
        return ""


def count_cores() -> int:
    """Returns the number of cores that this process can keep busy."""
    return slot.num_cores()


def _allocator(*, keeps_memory: bool) -> str:
    """Sets up glibc's allocator and tells which one is in use: another may replace it."""
    library = process.malloc()
    if library not in ("libc", None):
        return library
    return _keep_memory() if keeps_memory else "default"


def _keep_memory() -> str:
    """Lets glibc keep freed memory: XLA's CPU back end frees and takes 1 GB in every step, and
    half of the time would go into page faults. Elsewhere than on glibc this does nothing.
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
