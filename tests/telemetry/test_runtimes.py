"""The names of devices, by made-up runtimes."""

import ctypes
import types

import pytest

from mlpf_jax.telemetry import runtimes


def test_cudas_devices_have_their_uuids_in_the_order_that_is_visible():
    def get_uuid(uuid, device):
        uuid[:] = [device.value] * 16
        return 0

    def get_device(device, ordinal):
        device._obj.value = 0xA0 + ordinal
        return 0

    cuda = types.SimpleNamespace(
        cuInit=lambda flags: 0, cuDeviceGet=get_device, cuDeviceGetUuid_v2=get_uuid
    )

    found = runtimes.cuda_uuids([1, 0], load=lambda name: cuda)

    assert found == ["a1a1a1a1-a1a1-a1a1-a1a1-a1a1a1a1a1a1", "a0a0a0a0-a0a0-a0a0-a0a0-a0a0a0a0a0a0"]


def test_hips_devices_have_their_addresses():
    def get_address(text, length, ordinal):
        ctypes.memmove(text, f"0000:c{ordinal}:00.0".encode(), 13)
        return 0

    hip = types.SimpleNamespace(hipDeviceGetPCIBusId=get_address)

    assert runtimes.hip_bus_ids([1], load=lambda name: hip) == ["0000:c1:00.0"]


def test_a_driver_that_refuses_is_an_error_with_the_functions_name():
    with pytest.raises(OSError, match="cuInit returned 100"):
        runtimes.cuda_uuids([0], load=lambda name: types.SimpleNamespace(cuInit=lambda flags: 100))
