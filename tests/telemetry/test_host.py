"""The host's values, read from a made-up /proc and /sys."""

import pytest

from mlpf_jax.measure import load
from mlpf_jax.telemetry import host


def write(root, texts):
    for name, text in texts.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


@pytest.fixture
def root(tmp_path):
    cpu = "sys/devices/system/cpu"
    write(
        tmp_path,
        {
            "proc/self/status": "Cpus_allowed_list:\t0-1,8\n",
            "proc/meminfo": "MemTotal: 100 kB\nMemAvailable: 64 kB\n",
            f"{cpu}/cpu0/cpufreq/scaling_cur_freq": "2000000\n",
            f"{cpu}/cpu1/cpufreq/scaling_cur_freq": "3000000\n",
            f"{cpu}/cpu5/cpufreq/scaling_cur_freq": "9000000\n",  # not ours
            f"{cpu}/cpu8/cpufreq/scaling_cur_freq": "4000000\n",
            f"{cpu}/cpu0/thermal_throttle/core_throttle_count": "4\n",
            f"{cpu}/cpu1/thermal_throttle/core_throttle_count": "3\n",
            "sys/class/thermal/thermal_zone0/temp": "45000\n",
            "sys/class/thermal/thermal_zone1/temp": "-274000\n",  # not connected
            "sys/class/hwmon/hwmon2/temp1_input": "61500\n",
            "sys/class/hwmon/hwmon2/temp2_input": "6553500\n",  # broken
            "sys/devices/system/node/node0/cpulist": "0-7\n",
            "sys/devices/system/node/node1/cpulist": "8-15\n",
        },
    )
    return tmp_path


def test_all_values_of_the_cores_that_may_be_used_are_read(root):
    times = iter([0.0, 2.0])
    busy = iter([load.CpuTimes(100.0, 0.0, 0.0), load.CpuTimes(105.0, 0.0, 0.0)])
    machine = host.Host(root, clock=lambda: next(times), cpu_times=lambda: next(busy))

    found = dict(machine.sample())

    assert found.pop("load_1_min") is not None
    assert found == {
        "core_mhz": 3000.0,
        "fastest_core_mhz": 4000.0,
        "busy_cores": 2.5,
        "free_memory_bytes": 64 * 1024,
        "temperature_c": 61.5,
        "heat_throttlings": 7,
    }
    assert machine.describe() == {
        "numa_nodes": {"node0": "0-7", "node1": "8-15"},
        "num_heat_sensors": 4,
    }
    assert machine.refused == {}


def test_a_first_reading_too_early_for_a_load_is_no_refusal(root):
    machine = host.Host(root, clock=lambda: 0.0, cpu_times=lambda: load.CpuTimes(100.0, 0.0, 0.0))

    assert machine.sample()["busy_cores"] is None
    assert "busy_cores" not in machine.refused


def test_what_a_virtual_machine_hides_is_none_with_a_reason(tmp_path):
    machine = host.Host(tmp_path, cpu_times=lambda: None)

    found = machine.sample()

    hidden = {name for name, value in found.items() if value is None}
    assert hidden == set(machine.refused) == set(found) - {"load_1_min"}
    assert machine.describe()["numa_nodes"] is None


def test_of_many_cores_the_frequencies_of_some_are_read(tmp_path):
    files = {
        f"sys/devices/system/cpu/cpu{i}/cpufreq/scaling_cur_freq": "1000000" for i in range(64)
    }
    write(tmp_path, files | {"proc/self/status": "Cpus_allowed_list:\t0-255\n"})

    machine = host.Host(tmp_path, cpu_times=lambda: None)

    assert len(machine._cores) == 16
    assert machine.sample()["core_mhz"] == 1000.0
