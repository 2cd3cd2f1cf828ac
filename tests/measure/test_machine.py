"""The machine's state, read from a made-up /proc and /sys."""

import pytest

from mlpf_jax.measure import machine, slot


@pytest.fixture
def root(tmp_path):
    texts = {
        "proc/vmstat": "nr_free_pages 5\npswpin 100\npswpout 23\n",
        "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor": "performance\n",
        "sys/devices/system/cpu/cpu1/cpufreq/scaling_governor": "powersave\n",
        "sys/devices/system/cpu/cpu0/cpufreq/scaling_cur_freq": "2000000\n",
        "sys/devices/system/cpu/cpu1/cpufreq/scaling_cur_freq": "3000000\n",
        "sys/devices/system/cpu/cpu0/thermal_throttle/core_throttle_count": "4\n",
        "sys/devices/system/cpu/cpu0/thermal_throttle/package_throttle_count": "3\n",
    }
    for name, text in texts.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return tmp_path


def test_all_values_of_the_system_are_read(root):
    state = machine.read(root)

    assert state == machine.MachineState(
        governors=("performance", "powersave"),
        core_mhz=2500.0,
        swapped_pages=123,
        throttle_events=7,
    )


def test_missing_system_files_give_none(tmp_path):
    assert machine.read(tmp_path) == machine.MachineState(
        governors=None, core_mhz=None, swapped_pages=None, throttle_events=None
    )


def test_frequencies_and_quotas_are_read(root):
    policy = root / "sys/devices/system/cpu/cpu1/cpufreq"
    (policy / "scaling_driver").write_text("intel_pstate\n")
    (policy / "energy_performance_preference").write_text("performance\n")
    texts = {
        "proc/self/cgroup": "0::/\n",
        "proc/self/mountinfo": "1 2 0:3 / /cg rw - cgroup2 cgroup2 rw\n",
        "cg/cpu.max": "1000 2000\n",
        "cg/cpu.stat": "nr_periods 7\nnr_throttled 5\n",
    }
    for name, text in texts.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)

    state = machine.read(root)

    assert state.frequency_drivers == ("intel_pstate",)
    assert state.energy_preferences == ("performance",)
    assert state.throttling == slot.Throttling(7, 5)


def test_counters_are_reported_as_differences(root):
    before = machine.read(root)
    (root / "proc/vmstat").write_text("pswpin 100\npswpout 30\n")
    change = machine.MachineChange(before=before, after=machine.read(root))

    assert (change.swapped_pages, change.throttle_events) == (7, 0)


def test_this_machine_can_be_read():
    assert isinstance(machine.read(), machine.MachineState)
