"""AMD GPUs by recorded answers of amdsmi, present and older."""

import types

import pytest

from mlpf_jax.telemetry import amd, source


class AmdSmiException(Exception):
    """As in amdsmi."""


def smi(**changes):
    """The module amdsmi with one MI300X; `changes` are other answers, or exceptions."""
    answers = {
        "processor_handles": ["handle"],
        "gpu_compute_partition": "SPX",
        "gpu_asic_info": {"market_name": "AMD Instinct MI300X"},
        "gpu_device_uuid": "2aff74a1-0000-1000-80ab-5a2c2a0f21c3",
        "gpu_driver_info": {"driver_version": "6.12.12"},
        "gpu_memory_total": 206_141_652_992,
        "gpu_memory_usage": 300_000_000,
        "power_cap_info": {"power_cap": 750_000_000},
        "clock_info": {"clk": 2100, "max_clk": 2100},
        "power_info": {"current_socket_power": 612, "average_socket_power": "N/A"},
        "temp_metric": 61,
        "gpu_activity": {"gfx_activity": 98},
        "gpu_total_ecc_count": {"uncorrectable_count": 0},
        "gpu_process_list": [{"pid": 1}],
        "violation_status": {
            "active_ppt_pwr": True,
            "active_prochot_thrm": False,
            "active_socket_thrm": False,
            "active_vr_thrm": "N/A",
            "active_hbm_thrm": "N/A",
        },
        "energy_count": {"energy_accumulator": 2_000_000_000, "counter_resolution": 15.5},
    } | changes

    def function(answer):
        def call(*_):
            if isinstance(answer, Exception):
                raise answer
            return answer

        return call

    return types.SimpleNamespace(
        __name__="amdsmi",
        AmdSmiException=AmdSmiException,
        AmdSmiClkType=types.SimpleNamespace(GFX=1),
        AmdSmiMemoryType=types.SimpleNamespace(VRAM=1),
        AmdSmiTemperatureType=types.SimpleNamespace(HOTSPOT=1),
        AmdSmiTemperatureMetric=types.SimpleNamespace(CURRENT=1),
        amdsmi_init=lambda: None,
        amdsmi_shut_down=lambda: None,
        amdsmi_get_processor_handle_from_bdf=lambda bus_id: f"handle of {bus_id}",
        **{f"amdsmi_get_{name}": function(a) for name, a in answers.items() if a is not None},
    )


def opened(**changes):
    (gpu,) = amd.open_gpus(smi(**changes), None)
    return gpu


def test_a_whole_card_tells_all_values_in_base_units():
    gpu = opened()

    assert gpu.describe() == {
        "name": "AMD Instinct MI300X",
        "uuid": "2aff74a1-0000-1000-80ab-5a2c2a0f21c3",
        "driver": "6.12.12",
        "share": "whole card",
        "memory_bytes": 206_141_652_992.0,
        "power_limit_w": 750.0,
        "max_clock_mhz": 2100.0,
    }
    assert gpu.sample() == {
        "clock_mhz": 2100.0,
        "power_w": 612.0,
        "temperature_c": 61.0,
        "used_memory_bytes": 3e8,
        "use": 0.98,
        "ecc_errors": 0.0,
        "other_processes": 0,
        "slowed_by_power_limit": 1.0,
        "slowed_by_hardware": 0.0,
        "slowed_by_heat": 0.0,
    }
    assert gpu.energy.read_j() == pytest.approx(31000.0)


def test_an_older_release_has_other_keys_and_fewer_functions():
    gpu = opened(
        energy_count={"power": 1_000_000, "counter_resolution": 15.3},
        power_info={"average_socket_power": 203, "current_socket_power": "N/A"},
        violation_status=None,
        gpu_compute_partition=None,
    )

    assert gpu.energy.read_j() == pytest.approx(15.3)
    assert gpu.sample()["power_w"] == 203.0
    assert gpu.sample()["slowed_by_heat"] is None
    assert "amdsmi_get_violation_status" in gpu.refused["slowed"]
    assert gpu.describe()["share"] == "whole card"


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"gpu_compute_partition": "CPX"}, "whole card, not of a CPX part"),
        ({"energy_count": AmdSmiException("not supported")}, "not supported"),
        ({"energy_count": {"energy_accumulator": 0, "counter_resolution": 15.3}}, "stands at 0"),
    ],
)
def test_energy_that_is_not_this_devices_is_absent_with_a_reason(changes, reason):
    gpu = opened(**changes)

    assert isinstance(gpu.energy, source.Absent)
    assert reason in gpu.energy.reason


def test_unknown_numbers_are_none():
    gpu = opened(gpu_activity={"gfx_activity": "N/A"}, clock_info={"clk": "N/A", "max_clk": "N/A"})

    assert gpu.sample()["use"] is None
    assert gpu.sample()["clock_mhz"] is None


def test_gpus_are_found_by_their_address_and_never_guessed():
    assert len(amd.open_gpus(smi(), ["0000:c1:00.0", "0000:c5:00.0"])) == 2
    with pytest.raises(LookupError, match="which of 2 GPUs"):
        amd.open_gpus(smi(processor_handles=["a", "b"]), None)
