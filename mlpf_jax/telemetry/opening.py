"""Opens all sources of telemetry that this machine has, with the reasons for those it lacks."""

import contextlib
import importlib
import io
from collections.abc import Sequence
from typing import Any

from mlpf_jax.telemetry import amd, host, nvidia, rapl, recorder, runtimes, source, tpu

_MOST = 200  # characters of a reason


class _Missing(Exception):
    """There is no telemetry of the devices; the text says why."""


def open_recorder(
    platform: str, runtime: str, ordinals: Sequence[int], *, lengthens: bool = True
) -> recorder.Recorder:
    """Returns a recorder of the host, and of the devices with these ordinals.

    `platform` and `runtime` are JAX's: "cpu", "gpu" or "tpu", and the client's platform version.
    `lengthens` is that of the recorder.
    """
    sources: list[source.Source] = [host.Host()]
    absent = {}
    packages = rapl.Packages()
    if isinstance(packages.energy, source.Counter):
        sources.append(packages)
    else:
        absent[packages.name] = packages.energy.reason
    if platform != "cpu":
        try:
            sources += _open_devices(platform, runtime, ordinals)
        except _Missing as missing:
            absent["devices"] = str(missing)
        except Exception as error:  # noqa: BLE001 - drivers fail in ways that nobody can list
            absent["devices"] = f"they cannot be opened: {_line(error)}"
    return recorder.Recorder(sources, absent, on_cpu=platform == "cpu", lengthens=lengthens)


def _open_devices(platform: str, runtime: str, ordinals: Sequence[int]) -> Sequence[source.Source]:
    if platform == "tpu":
        return [tpu.Tpus(_import("libtpu.sdk", "libtpu").tpumonitoring)]
    if "rocm" in runtime.lower():
        smi = _import("amdsmi", "amdsmi, which comes with ROCm,")
        return _open_gpus(amd, smi, smi.AmdSmiException, runtimes.hip_bus_ids, ordinals)
    nvml = _import("pynvml", "nvidia-ml-py")
    return _open_gpus(nvidia, nvml, nvml.NVMLError, runtimes.cuda_uuids, ordinals)


def _import(module: str, package: str) -> Any:
    """Imports an optional interface; amdsmi without its library prints, and fails anyhow."""
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            return importlib.import_module(module)
    except ImportError:
        raise _Missing(f"{package} is not installed") from None
    except (OSError, AttributeError, KeyError) as error:
        raise _Missing(f"{package} cannot be used: {_line(error)}") from None


def _open_gpus(
    kind: Any, interface: Any, refusal: type[Exception], identify: Any, ordinals: Sequence[int]
) -> Sequence[source.Source]:
    """Opens the GPUs of these ordinals, or the only one where the runtime does not name them."""
    try:
        names = identify(ordinals)
    except (OSError, AttributeError):
        names = None
    try:
        return kind.open_gpus(interface, names)
    except (refusal, LookupError, OSError, AttributeError) as error:
        raise _Missing(f"{interface.__name__}: {_line(error)}") from None


def _line(error: BaseException) -> str:
    return (" ".join(str(error).split()) or type(error).__name__)[:_MOST]
