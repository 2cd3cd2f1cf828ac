"""NVIDIA GPUs by recorded answers of NVML."""

import dataclasses

import pytest

from mlpf_jax.telemetry import nvidia, source
from tests.telemetry import fake_nvml

UUID = "8f6ad1b2-0000-1111-2222-333344445555"


def opened(*, unknown=(), **fields):
    (gpu,) = nvidia.open_gpus(fake_nvml.module(fake_nvml.Card(**fields), unknown=unknown), [UUID])
    return gpu


def test_a_whole_card_tells_all_values_in_base_units():
    gpu = opened()

    assert gpu.describe() == {
        "name": "NVIDIA H200",
        "uuid": f"GPU-{UUID}",
        "driver": "580.159.03",
        "share": "whole card",
        "is_mig_enabled": False,
        "is_ecc_enabled": True,
        "memory_bytes": 150e9,
        "power_limit_w": 700.0,
        "default_power_limit_w": 700.0,
        "max_clock_mhz": 1980.0,
    }
    assert gpu.sample() == {
        "clock_mhz": 1755.0,
        "memory_clock_mhz": 3201.0,
        "power_w": 112.345,
        "temperature_c": 41.0,
        "used_memory_bytes": 3e9,
        "use": 0.87,
        "ecc_errors": 0.0,
        "other_processes": 0,
        "slowed_by_power_limit": 0.0,
        "slowed_by_hardware": 0.0,
        "slowed_by_heat": 0.0,
        "slowed_by_power_brake": 0.0,
    }
    assert isinstance(gpu.energy, source.Counter)
    assert gpu.energy.read_j() == 5000.0
    assert gpu.refused == {}


@pytest.mark.parametrize(
    ("reasons", "slowed"),
    [
        (0x0, set()),
        (0x1 | 0x2 | 0x10 | 0x100, set()),  # idle, clocks set by a user, sync boost, display
        (0x4, {"slowed_by_power_limit"}),
        (0x8 | 0x40, {"slowed_by_hardware", "slowed_by_heat"}),
        (0x20, {"slowed_by_heat"}),
        (0x80, {"slowed_by_power_brake"}),
    ],
)
@pytest.mark.parametrize("older", [False, True])
def test_reasons_are_read_under_the_name_that_the_driver_knows(reasons, slowed, older):
    refused = frozenset({"GetCurrentClocksEventReasons"} if older else set())
    gpu = opened(reasons=reasons, unsupported=refused)

    found = gpu.sample()

    assert {name for name in found if name.startswith("slowed_") and found[name]} == slowed
    assert gpu.refused == {}


def test_older_bindings_without_some_functions_leave_these_values_unknown_with_a_reason():
    gpu = opened(
        unknown=("GetCurrentClocksEventReasons", "IsMigDeviceHandle", "GetTotalEnergyConsumption")
    )

    assert gpu.sample()["slowed_by_heat"] == 0.0
    assert gpu.describe()["share"] == "whole card"
    assert isinstance(gpu.energy, source.Absent)
    assert "nvmlDeviceGetTotalEnergyConsumption" in gpu.energy.reason


def test_a_refused_value_is_none_and_the_reason_is_the_drivers():
    gpu = opened(
        unsupported=frozenset({"GetPowerUsage", "GetTotalEnergyConsumption", "GetEccMode"})
    )

    assert gpu.sample()["power_w"] is None
    assert gpu.describe()["is_ecc_enabled"] is None
    assert gpu.energy == source.Absent("NVML's energy counter: Not Supported")
    assert gpu.refused["power_w"] == "Not Supported"


def test_a_mig_slice_has_the_cards_clock_and_neither_power_nor_energy():
    card = fake_nvml.Card(uuid="GPU-0")
    piece = fake_nvml.Card(
        uuid=f"MIG-{UUID}",
        name="NVIDIA H200 MIG 1g.18gb",
        slice_of=card,
        unsupported=frozenset({"GetClockInfo", "GetTemperature", "GetUtilizationRates"}),
    )
    (gpu,) = nvidia.open_gpus(fake_nvml.module(card, piece), [UUID])

    assert gpu.describe()["share"] == "MIG slice 1g.18gb"
    assert gpu.sample()["clock_mhz"] == 1755.0
    assert gpu.sample()["power_w"] is None
    assert "other slices" in gpu.refused["power_w"]
    assert isinstance(gpu.energy, source.Absent)
    assert "MIG slice" in gpu.energy.reason


def test_an_mps_share_is_told(monkeypatch):
    assert opened(mps_processes=(7,)).describe()["share"] == "MPS share"
    monkeypatch.setenv("CUDA_MPS_ACTIVE_THREAD_PERCENTAGE", "25")
    assert opened().describe()["share"] == "MPS share of 25 %"


def test_processes_but_this_one_are_counted_and_no_process_at_all_is_unknown():
    assert opened(processes=(7, 8, 9)).sample()["other_processes"] == 2
    hidden = opened(processes=())
    assert hidden.sample()["other_processes"] is None
    assert "shows no process" in hidden.refused["other_processes"]


def test_gpus_are_found_by_their_uuid_and_never_guessed():
    cards = [fake_nvml.Card(uuid=f"GPU-{i}", energy_mj=i * 1000) for i in range(3)]
    nvml = fake_nvml.module(*cards)

    used = nvidia.open_gpus(nvml, ["2", "0"])

    assert [(gpu.name, gpu.energy.read_j()) for gpu in used] == [("GPU 0", 2.0), ("GPU 1", 0.0)]
    with pytest.raises(LookupError, match="does not show the GPU 7"):
        nvidia.open_gpus(nvml, ["7"])
    with pytest.raises(LookupError, match="which of 3 GPUs"):
        nvidia.open_gpus(nvml, None)
    assert len(nvidia.open_gpus(fake_nvml.module(cards[0]), None)) == 1


def test_two_gpus_give_nvml_back_without_an_error():
    cards = [dataclasses.replace(fake_nvml.Card(), uuid=f"GPU-{i}") for i in range(2)]
    first, second = nvidia.open_gpus(fake_nvml.module(*cards), ["0", "1"])

    first.close()
    second.close()

    assert second.refused == {"shutdown": "Uninitialized"}
