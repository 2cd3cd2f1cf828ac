"""Reasons to distrust a phase, one line for each kind."""

import pytest

from mlpf_jax.telemetry import doubts
from tests.telemetry import made_up

TIMES = [float(i) for i in range(20)]
WINDOWS, LATER = [(-0.5, 19.5)], [(30.0, 40.0)]
QUIET = {
    "clock_mhz": [1980.0] * 20,
    "slowed_by_power_limit": [0.0] * 20,
    "slowed_by_heat": [0.0] * 20,
    "other_processes": [0.0] * 20,
}


def found(windows=WINDOWS, **changes):
    gpus = {"GPU 0": QUIET | changes, "GPU 1": QUIET}
    return doubts.in_windows(made_up.telemetry(TIMES, gpus), windows, on_cpu=False)


def test_a_quiet_device_gives_no_reason():
    assert found() == []
    assert found(slowed_by_power_limit=[1.0] + [0.0] * 19) == []
    assert found(clock_mhz=[1980.0] * 10 + [1800.0] * 10) == []
    assert found(other_processes=[float("nan")] * 20) == []


@pytest.mark.parametrize(
    ("name", "values", "line"),
    [
        ("clock_mhz", [1980.0] * 10 + [1400.0] * 10, "clock changed: GPU 0 from 1400 to 1980 MHz"),
        (
            "slowed_by_power_limit",
            [1.0] * 9 + [0.0] * 11,
            "slowed by power limit: GPU 0 in 45 % of the readings",
        ),
        (
            "slowed_by_heat",
            [1.0] + [0.0] * 19,
            "slowed by heat: GPU 0 in 5 % of the readings",
        ),
        ("other_processes", [0.0] * 19 + [2.0], "other processes on the device: 2 on GPU 0"),
    ],
)
def test_each_kind_is_one_line_with_the_device_and_only_for_its_windows(name, values, line):
    assert found(**{name: values}) == [line]
    assert found(LATER, **{name: values}) == []


def test_the_clock_of_a_cpu_counts_only_where_it_computes():
    host = {"host": {"fastest_core_mhz": [3000.0] * 10 + [2000.0] * 10}}
    recorded = made_up.telemetry(TIMES, host)

    assert doubts.in_windows(recorded, WINDOWS, on_cpu=False) == []
    assert doubts.in_windows(recorded, WINDOWS, on_cpu=True) == [
        "clock changed: host from 2000 to 3000 MHz"
    ]
