"""Which back end a machine is found to have, by machines made of files."""

import ctypes
import types

import pytest

from tools import detect_backend
from tools.detect_backend import Machine, detect

_PROPRIETARY = "NVRM version: NVIDIA UNIX x86_64 Kernel Module  {}  Sat Aug 19 01:15:15 UTC 2023\n"
_OPEN = "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  {}  Release Build  (root@h)\n"


@pytest.fixture
def machine(tmp_path):
    (tmp_path / "bin").mkdir()

    def make(files=(), smi=None, architecture="x86_64", system="Linux", **environ):
        for name, content in dict(files).items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content)
        if smi is not None:
            program = tmp_path / "bin" / "nvidia-smi"
            program.write_bytes(b"#!/bin/sh\n" + smi)
            program.chmod(0o755)
        path = f"{tmp_path}/bin:/usr/bin:/bin" if smi is not None else f"{tmp_path}/bin"
        return Machine(tmp_path, {"PATH": path} | environ, system, architecture, "no libcuda")

    return make


def _says(text):
    return f"echo '{text}'".encode()


@pytest.mark.parametrize(
    ("smi", "backend", "reason"),
    [
        (_says("580.65.06, 9.0"), "cuda13", "NVIDIA driver 580.65.06"),
        (_says("590.10, 12.0\n590.10, 12.0"), "cuda13", "590.10"),
        (_says("580.65.06, 9.0\n580.65.06, 7.0"), "cuda12", "compute capability 7.0"),
        (_says("580.65.06, 7.5"), "cuda13", "580.65.06"),
        (_says("579.99, 9.0"), "cuda12", "579.99"),
        (_says("525.60.13, 7.0"), "cuda12", "525.60.13"),
        (_says("515.43.04, 8.0"), "cpu", "515.43.04 is older than 525"),
        (_says("470.82, 3.5"), "cpu", "older than 525"),
    ],
)
def test_the_driver_and_the_oldest_gpu_choose_the_cuda(machine, smi, backend, reason):
    found = detect(machine(smi=smi))

    assert found.backend == backend
    assert reason in found.reason


@pytest.mark.parametrize(
    "smi",
    [
        b"echo 'Field \"compute_cap\" is not a valid field to query.'; exit 2",
        b"printf '\\377\\376garbage\\n'",
        b"echo 'No devices were found'; exit 6",
        b"echo '[Insufficient Permissions], [N/A]'",
        b"exit 9",
        b"",
    ],
)
@pytest.mark.parametrize("version", [_PROPRIETARY, _OPEN])
def test_where_nvidia_smi_tells_nothing_the_loaded_driver_does(machine, smi, version):
    files = {"proc/driver/nvidia/version": version.format("565.57.01"), "dev/nvidia0": ""}

    found = detect(machine(files, smi))

    assert found == ("cuda12", "NVIDIA driver 565.57.01")


def test_an_nvidia_smi_that_hangs_is_given_up(machine, monkeypatch):
    monkeypatch.setattr(detect_backend, "_TIMEOUT_S", 0.2)
    files = {"proc/driver/nvidia/version": _OPEN.format("580.65.06"), "dev/nvidia3": ""}

    assert detect(machine(files, b"exec sleep 60")).backend == "cuda13"


def test_an_nvidia_device_of_an_unknown_driver_is_named(machine):
    found = detect(machine({"dev/nvidia0": "", "proc/driver/nvidia/version": "?"}))

    assert found == ("cpu", "there is an NVIDIA device, but its driver's version is unknown")


@pytest.mark.parametrize(
    ("status", "version", "found"),
    [
        (0, 13000, ("cuda13", "an NVIDIA driver for CUDA 13.0")),
        (0, 12090, ("cuda12", "an NVIDIA driver for CUDA 12.9")),
        (0, 11080, ("cpu", "an NVIDIA driver for CUDA 11.8 is older than CUDA 12 needs")),
        (34, 0, ("cpu", "there is an NVIDIA device, but its driver's version is unknown")),
    ],
)
def test_where_nothing_else_tells_the_driver_its_library_does(
    machine, monkeypatch, status, version, found
):
    def get_version(pointer):
        pointer._obj.value = version
        return status

    library = types.SimpleNamespace(cuDriverGetVersion=get_version)
    monkeypatch.setattr(ctypes, "CDLL", {"no libcuda": library}.__getitem__)

    assert detect(machine({"dev/nvidia0": ""})) == found


def test_a_driver_without_a_device_is_that_of_a_containers_host(machine):
    files = {"proc/driver/nvidia/version": _OPEN.format("580.65.06"), "dev/nvidiactl": ""}

    assert detect(machine(files)) == ("cpu", "no accelerator was found")


@pytest.mark.parametrize(
    ("versions", "backend", "reason"),
    [
        ({"opt/rocm/.info/version": "7.0.2-56"}, "rocm7", "ROCm 7.0.2"),
        ({"opt/rocm-7.1.0/.info/version": "7.1.0\n"}, "rocm7", "ROCm 7.1.0"),
        (
            {"opt/rocm-6.4/.info/version": "6.4.1-9", "opt/rocm-7.0/.info/version": "7.0.0"},
            "rocm7",
            "ROCm 7.0.0",
        ),
        ({"opt/rocm/.info/version": "6.4.1-9"}, "cpu", "but ROCm 6.4.1: ROCm 7 is needed"),
        ({"opt/rocm/.info/version": "70.1.0"}, "cpu", "ROCm 7 is needed"),
        ({"opt/rocm/.info/version": "?"}, "cpu", "no ROCm in /opt"),
        ({}, "cpu", "no ROCm in /opt or ROCM_PATH"),
    ],
)
def test_an_amd_device_needs_its_rocm(machine, versions, backend, reason):
    found = detect(machine({"dev/kfd": ""} | versions))

    assert found.backend == backend
    assert reason in found.reason


def test_rocm_may_lie_where_the_site_says(machine, tmp_path):
    files = {"dev/kfd": "", "site/.info/version": "7.0.2"}

    assert detect(machine(files, ROCM_PATH=str(tmp_path / "site"))).backend == "rocm7"


def test_rocm_without_a_device_is_no_accelerator(machine):
    assert detect(machine({"opt/rocm/.info/version": "7.0.2"})).backend == "cpu"


@pytest.mark.parametrize(
    ("files", "environ", "backend"),
    [
        (
            {
                "sys/bus/pci/devices/0/vendor": "0x1ae0\n",
                "sys/bus/pci/devices/0/device": "0x0063\n",
            },
            {},
            "tpu",
        ),
        (
            {
                "sys/bus/pci/devices/0/vendor": "0x1ae0\n",
                "sys/bus/pci/devices/0/device": "0x0042\n",  # Google's network card
            },
            {},
            "cpu",
        ),
        ({"dev/accel0": ""}, {"TPU_ACCELERATOR_TYPE": "v4-8"}, "tpu"),
        ({"dev/vfio/0": "", "dev/vfio/vfio": ""}, {"TPU_WORKER_ID": "0"}, "tpu"),
        ({"dev/vfio/0": ""}, {}, "cpu"),
        ({"dev/accel0": ""}, {}, "cpu"),
        ({}, {"TPU_NAME": "x"}, "cpu"),
    ],
)
def test_a_tpu_is_its_chip_or_a_device_file_on_a_tpu_vm(machine, files, environ, backend):
    assert detect(machine(files, **environ)).backend == backend


@pytest.mark.parametrize(
    ("files", "smi", "backend"),
    [
        ({"dev/kfd": "", "opt/rocm/.info/version": "7.0"}, None, "cpu"),
        ({"dev/accel0": ""}, None, "cpu"),
        ({}, _says("580.65.06, 9.0"), "cuda13"),
    ],
)
def test_arm_has_locks_for_nvidia_alone(machine, files, smi, backend):
    found = detect(machine(files, smi, architecture="aarch64", TPU_NAME="x"))

    assert found.backend == backend
    assert backend != "cpu" or "aarch64" in found.reason


def test_elsewhere_than_on_linux_it_is_the_cpu(machine):
    found = detect(machine({"dev/nvidia0": ""}, _says("580.1, 9.0"), system="Darwin"))

    assert found == ("cpu", "on Darwin there is no lock for accelerators")


def test_of_two_kinds_the_one_that_can_be_used_is_chosen(machine):
    files = {"dev/kfd": "", "opt/rocm/.info/version": "7.0.2"}

    assert detect(machine(files, _says("470.82, 3.5"))).backend == "rocm7"
    assert detect(machine(files, _says("580.65.06, 9.0"))).backend == "cuda13"
