"""Starts JAX and selects the devices of a run; explains why an accelerator is not used."""

import ctypes
import dataclasses
import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import jax

from mlpf_jax import config as config_lib
from mlpf_jax import runtime
from mlpf_jax.hosts import starting
from mlpf_jax.measure import accelerators
from mlpf_jax.training import parallel

_VARIABLE = "JAX_PLATFORMS"
_NO_GPU, _NVML = "No visible GPU devices", "libnvidia-ml.so.1"
_NO_PLUGIN = "a CUDA-enabled jaxlib is not installed"  # JAX's guess, also where a plug-in fails


@dataclasses.dataclass(frozen=True)
class Found:
    """The devices of this process, with messages about them."""

    devices: tuple[Any, ...]  # jax.Device, or a test's
    fallback: str | None = None  # why existing accelerators are not used
    warnings: tuple[str, ...] = ()  # other warnings of JAX
    is_everywhere: bool = False  # on all hosts of a run

    @property
    def platform(self) -> str:
        """JAX's name of the platform."""
        return self.devices[0].platform

    def pick(self, config: config_lib.RunConfig) -> tuple[Any, ...]:
        """Returns the devices of the run.

        Raises:
            ValueError: if there are fewer than requested, or they do not support the precision.
        """
        first, number = self.devices[0], len(self.devices)
        if self.is_everywhere and number != config.num_devices:
            raise ValueError(
                f"--num_devices={config.num_devices}: the processes of this run have {number} in "
                "all, and each of these must take part."
            )
        if number < config.num_devices:
            raise ValueError(
                f"--num_devices={config.num_devices}: only {number} of platform {self.platform} "
                f"({first.device_kind}) can be used here. Choose --num_devices=all or at most "
                f"{number}; --platform=cpu emulates {config.num_devices} on the CPU."
            )
        capability = str(getattr(first, "compute_capability", ""))
        if config.model.precision == "tf32" and not has_tf32(self.platform, capability):
            raise ValueError(
                f"--precision=tf32: {first.device_kind} has no TF32; it takes an NVIDIA GPU of "
                "compute capability 8.0 or later. Choose float32 or bf16."
            )
        return self.devices[: config.num_devices]

    @staticmethod
    def with_parallel(config: config_lib.RunConfig) -> tuple[config_lib.RunConfig, str | None]:
        """Returns the config, with shard_map and a message if JAX has no pmap."""
        chosen = parallel.available(config.parallel)
        if chosen == config.parallel:
            return config, None
        line = f"JAX {jax.__version__} has no {config.parallel}: {chosen} takes its place"
        return dataclasses.replace(config, parallel=chosen), line


def find(demanded: config_lib.Platform, *, everywhere: bool = False) -> Found:
    """Starts JAX on the requested platform, or on the best available one.

    `everywhere` adds the devices of the other processes of this run.

    Raises:
        ValueError: if there is none, with JAX's reason in one line.
    """
    takes_cpu = _choose_platforms(demanded)
    with _warnings_of_jax() as warnings:
        try:
            devices = jax.devices() if everywhere else jax.local_devices()
        except (RuntimeError, AssertionError, OSError, ValueError) as error:
            raise ValueError(runtime.no_device(_without_gpu(_reason(error, warnings)))) from None
    if devices[0].platform == "cpu" and not takes_cpu:
        raise ValueError(runtime.no_device(", ".join(warnings[:1])))
    if demanded in ("gpu", "tpu") and devices[0].platform != demanded:
        way_out = "install the back end of the device (make venv BACKEND=...)"
        if hiding := _hiding(os.environ):
            way_out = f"unset {hiding}, which may hide it"
        why = _unavailable(demanded, warnings).rstrip(".")
        raise ValueError(f"--platform={demanded}: {why}. Leave --platform out, or {way_out}.")
    if demanded != "auto" or devices[0].platform != "cpu":
        return Found(tuple(devices), warnings=tuple(warnings), is_everywhere=everywhere)
    installed = accelerators.plugins()
    reason = explain(accelerators.present(), installed, warnings, os.environ)
    others = (line for line in warnings[1:] if not (installed and _NO_PLUGIN in line))
    return Found(tuple(devices), reason, tuple(others), everywhere)


def _choose_platforms(demanded: config_lib.Platform) -> bool:
    """Tells JAX which platforms to start; returns whether the run may take the CPU.

    The CPU is always started: its client alone counts the operations of a graph.
    """
    if demanded != "auto":  # our flag is newer than the variable
        jax.config.update("jax_platforms", "cpu" if demanded == "cpu" else "")
        return True
    given = jax.config.values["jax_platforms"]
    if not given or "cpu" in given.split(","):
        return True
    jax.config.update("jax_platforms", f"{given},cpu")
    return False


def explain(
    present: Sequence[str],
    plugins: Sequence[str],
    warnings: Sequence[str],
    environ: Mapping[str, str],
) -> str | None:
    """Returns why JAX uses the CPU despite an accelerator, or a plug-in for one.

    `present` and `plugins` come from `accelerators`, `warnings` from the start of JAX. None if
    there is neither.
    """
    if not present and not plugins and not warnings:
        return None
    hiding = _hiding(environ)
    if environ.get(_VARIABLE):
        why = f"{_VARIABLE}={environ[_VARIABLE]}"
    elif warnings:
        why = f"{warnings[0]}{f' ({hiding})' if hiding else ''}"
    elif not plugins:
        why = "this environment's JAX is for CPUs alone (make venv BACKEND=...)"
    else:
        why = f"{', '.join(filter(None, (*plugins, hiding)))}: no device can be used"
    subject = f"{' and '.join(present)} not used" if present else "no accelerator used"
    return f"{subject}: {why}"


def _hiding(environ: Mapping[str, str]) -> str:
    """Returns the variables that are set and can hide devices, with their values."""
    return ", ".join(f"{name}={environ[name]}" for name in starting.HIDING if name in environ)


def has_tf32(platform: str, compute_capability: str) -> bool:
    """Whether a compute capability is NVIDIA's "8.0" or later; AMD's are like "gfx942"."""
    major = compute_capability.partition(".")[0]
    return platform == "gpu" and major.isdigit() and int(major) >= 8


def _unavailable(platform: str, warnings: Sequence[str]) -> str:
    words = {"gpu": ("cuda", "rocm"), "tpu": ("tpu",)}[platform]
    try:
        jax.local_devices(backend=platform)
    except RuntimeError as error:
        about = [warning for warning in warnings if any(w in warning.lower() for w in words)]
        return _reason(error, about)
    return "JAX prefers another platform on this machine; set JAX_PLATFORMS."


def _reason(error: Exception, warnings: Sequence[str]) -> str:
    """Returns one line: JAX's warning, or else its error."""
    return warnings[0] if warnings else str(error).strip().partition("\n")[0]


def _without_gpu(reason: str) -> str:
    """Returns JAX's reason; XLA does not tell why it sees no GPU, and JAX blames its plug-in."""
    if _NO_GPU not in reason:
        return reason
    if hiding := _hiding(os.environ):
        return f"{_NO_GPU}; {hiding} may hide them"
    try:
        ctypes.CDLL(_NVML)
    except OSError:
        return (
            f"{_NO_GPU}, because {_NVML} of the driver cannot be loaded (a container gets it with "
            "NVIDIA_DRIVER_CAPABILITIES=compute,utility)"
        )
    return reason


@contextmanager
def _warnings_of_jax() -> Iterator[list[str]]:
    """Collects the warnings that JAX prints while it looks for devices, as lines."""
    collected: list[str] = []

    class Collector(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if record.levelno >= logging.WARNING:
                cause = record.exc_info[1] if record.exc_info else None
                text = f"{record.getMessage()}: {cause}" if cause else record.getMessage()
                collected.append(" ".join(text.split()))

    logger = logging.getLogger("jax._src.xla_bridge")
    handlers, propagates = logger.handlers, logger.propagate
    logger.handlers, logger.propagate = [], False
    logger.addHandler(Collector())
    try:
        yield collected
    finally:
        logger.handlers, logger.propagate = handlers, propagates
