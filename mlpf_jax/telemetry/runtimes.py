"""Which physical GPUs a run uses, as the management tools name them.

Environment variables such as CUDA_VISIBLE_DEVICES hide and reorder devices, by rules that the
runtime knows best. So the libraries that JAX has loaded are asked.
"""

import ctypes
import uuid as uuid_lib
from collections.abc import Callable, Sequence
from typing import Any

_CUDA, _HIP = "libcuda.so.1", "libamdhip64.so"
Load = Callable[[str], Any]


def cuda_uuids(ordinals: Sequence[int] | None = None, load: Load = ctypes.CDLL) -> list[str]:
    """Returns the UUIDs of CUDA's devices, of MIG slices where these are the devices.

    None: of all devices that this process may use.

    Raises:
        OSError: if the driver does not tell them.
    """
    cuda = load(_CUDA)
    _require(cuda.cuInit(0), "cuInit")
    if ordinals is None:
        count = ctypes.c_int()
        _require(cuda.cuDeviceGetCount(ctypes.byref(count)), "cuDeviceGetCount")
        ordinals = range(count.value)
    found = []
    for ordinal in ordinals:
        device, uuid = ctypes.c_int(), (ctypes.c_ubyte * 16)()
        _require(cuda.cuDeviceGet(ctypes.byref(device), ordinal), "cuDeviceGet")
        _require(cuda.cuDeviceGetUuid_v2(uuid, device), "cuDeviceGetUuid_v2")
        found.append(str(uuid_lib.UUID(bytes=bytes(uuid))))
    return found


def hip_bus_ids(ordinals: Sequence[int], load: Load = ctypes.CDLL) -> list[str]:
    """Returns the PCI addresses of HIP's devices.

    Raises:
        OSError: if the runtime does not tell them.
    """
    hip = load(_HIP)
    found = []
    for ordinal in ordinals:
        text = ctypes.create_string_buffer(64)
        _require(hip.hipDeviceGetPCIBusId(text, len(text), ordinal), "hipDeviceGetPCIBusId")
        found.append(text.value.decode())
    return found


def _require(status: int, name: str) -> None:
    if status:
        raise OSError(f"{name} returned {status}")
