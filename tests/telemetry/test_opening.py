"""Which sources are opened, and what is said of those that cannot be."""

import sys
import types

import pytest

from mlpf_jax.telemetry import opening, runtimes
from tests.telemetry import fake_nvml, test_amd, test_tpu

UUID = "8f6ad1b2-0000-1111-2222-333344445555"


def names(recorder):
    return [sensors.name for sensors in recorder.record().sensors]


@pytest.fixture
def nvml(monkeypatch):
    module = fake_nvml.module(fake_nvml.Card())
    monkeypatch.setitem(sys.modules, "pynvml", module)
    monkeypatch.setattr(runtimes, "cuda_uuids", lambda ordinals: [UUID])
    return module


def test_on_a_cpu_no_interface_of_devices_is_loaded(monkeypatch):
    monkeypatch.setattr(opening, "_import", pytest.fail)

    recorder = opening.open_recorder("cpu", "", [0])
    assert names(recorder)[0] == "host"
    assert recorder.no_devices is None


def test_gpus_are_opened_by_the_runtime_that_jax_uses(nvml, monkeypatch):
    assert "GPU 0" in names(opening.open_recorder("gpu", "PJRT C API\ncuda 13000", [0]))

    monkeypatch.setitem(sys.modules, "amdsmi", test_amd.smi())
    monkeypatch.setattr(runtimes, "hip_bus_ids", lambda ordinals: ["0000:c1:00.0"])
    recorder = opening.open_recorder("gpu", "PJRT C API\nrocm 70000", [0])
    assert recorder.record().device_meter.source == "amdsmi energy accumulator"


def test_a_counter_asks_for_long_phases_unless_the_run_does_not_want_them(nvml):
    asked = [
        opening.open_recorder("gpu", "cuda", [0], **wishes).least_window_s
        for wishes in ({}, {"lengthens": False})
    ]

    assert asked == [10.0, None]


def test_the_only_gpu_needs_no_name(nvml, monkeypatch):
    def refuse(ordinals):
        raise OSError("libcuda.so.1: cannot open shared object file")

    monkeypatch.setattr(runtimes, "cuda_uuids", refuse)

    assert "GPU 0" in names(opening.open_recorder("gpu", "cuda", [0]))


def test_tpus_are_opened_by_libtpu(monkeypatch):
    sdk = types.SimpleNamespace(tpumonitoring=test_tpu.monitoring(duty_cycle_pct=["1"]))
    monkeypatch.setitem(sys.modules, "libtpu", types.SimpleNamespace(sdk=sdk))
    monkeypatch.setitem(sys.modules, "libtpu.sdk", sdk)

    assert "TPUs" in names(opening.open_recorder("tpu", "", [0]))


@pytest.mark.parametrize(
    ("platform", "runtime", "module", "reason"),
    [
        ("gpu", "cuda", "pynvml", "nvidia-ml-py is not installed"),
        ("gpu", "rocm", "amdsmi", "amdsmi, which comes with ROCm, is not installed"),
        ("tpu", "", "libtpu.sdk", "libtpu is not installed"),
    ],
)
def test_a_missing_package_is_named(monkeypatch, platform, runtime, module, reason):
    monkeypatch.setitem(sys.modules, module, None)

    recorder = opening.open_recorder(platform, runtime, [0])

    assert recorder.record().device_meter.reason == reason


def test_a_driver_that_refuses_is_quoted(nvml, monkeypatch):
    def refuse():
        raise nvml.NVMLError("Driver Not Loaded")

    monkeypatch.setattr(nvml, "nvmlInit", refuse)

    recorder = opening.open_recorder("gpu", "cuda", [0])

    assert recorder.no_devices == "pynvml: Driver Not Loaded"


def test_an_interface_of_another_release_ends_no_run(monkeypatch):
    monkeypatch.setitem(sys.modules, "libtpu", types.SimpleNamespace())
    monkeypatch.setitem(sys.modules, "libtpu.sdk", types.SimpleNamespace())

    recorder = opening.open_recorder("tpu", "", [0])

    assert "no attribute 'tpumonitoring'" in recorder.no_devices
