"""The machine's state, read from a made-up /proc and /sys."""

import pytest

from mlpf_jax.measure import machine


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


def test_everything_that_the_system_tells_is_read(root):
    state = machine.read(root, lambda: "0x0000000000000001\n0x0000000000000068\n")

    assert state == machine.MachineState(
        governors=("performance", "powersave"),
        core_mhz=2500.0,
        swapped_pages=123,
        throttle_events=7,
        gpu_slowdowns=(
            "hardware slowdown",
            "software thermal slowdown",
            "hardware thermal slowdown",
        ),
    )


def test_what_the_system_does_not_tell_is_none(tmp_path):
    assert machine.read(tmp_path, lambda: None) == machine.MachineState(
        governors=None, core_mhz=None, swapped_pages=None, throttle_events=None, gpu_slowdowns=None
    )


@pytest.mark.parametrize(
    ("answer", "expected"),
    [("[N/A]\n", None), ("0x0000000000000001\n", ()), ("0x0000000000000004\n", ())],
)
def test_an_idle_gpu_and_one_at_its_power_limit_are_not_slowed_down(root, answer, expected):
    assert machine.read(root, lambda: answer).gpu_slowdowns == expected


def test_counters_are_told_as_differences(root):
    before = machine.read(root, lambda: None)
    (root / "proc/vmstat").write_text("pswpin 100\npswpout 30\n")
    change = machine.MachineChange(before=before, after=machine.read(root, lambda: None))

    assert (change.swapped_pages, change.throttle_events) == (7, 0)


def test_this_machine_can_be_read():
    assert isinstance(machine.read(), machine.MachineState)
