"""Joules over exactly the timed windows, and their reliability."""

import dataclasses

import pytest

from mlpf_jax.telemetry import energy, record, source
from tests.telemetry import made_up


def windows(num=40, seconds=1.0, watts=500.0, gap=0.5, events=200):
    return [
        energy.Window(
            start_s=i * (seconds + gap),
            seconds=seconds,
            num_events=events,
            joules=watts * seconds,
        )
        for i in range(num)
    ]


def test_events_per_joule_gross_and_without_the_idle_power():
    found = energy.measured(made_up.meter(), windows(), made_up.telemetry([], {}).time_s)

    assert (found.joules, found.window_s, found.mean_power_w) == (20000.0, 40.0, 500.0)
    assert found.events_per_j.value == pytest.approx(0.4)
    assert found.net_events_per_j.value == pytest.approx(0.5)
    assert found.events_per_j.low == pytest.approx(0.4)
    assert (found.source, found.scope, found.power_limits_w) == (
        "NVML total energy",
        "GPU board",
        (700.0,),
    )


@pytest.mark.parametrize("num", [1, 3, 4, 5, 6, 7, 8, 11])
def test_every_window_counts_once_where_the_last_ones_are_too_few_for_a_block(num):
    """Three windows are long enough for ten changes of the counter."""
    some = [
        dataclasses.replace(window, num_events=100 * (i + 1))
        for i, window in enumerate(windows(num, seconds=0.35))
    ]

    found = energy.measured(made_up.meter(), some, made_up.telemetry([], {}).time_s)

    expected = sum(window.num_events for window in some) / found.joules
    assert found.events_per_j.value == pytest.approx(expected)


@pytest.mark.parametrize("idle_w", [None, 500.0, 600.0])
def test_without_a_lower_idle_power_there_is_no_net_figure(idle_w):
    found = energy.measured(
        made_up.meter(idle_w=idle_w), windows(), made_up.telemetry([], {}).time_s
    )

    assert found.net_events_per_j is None


def test_noise_of_a_slow_counter_is_averaged_before_the_interval_is_made():
    """Windows of 0.2 s get one or three of the counter's steps of 0.1 s, in turns."""
    steps = [
        dataclasses.replace(window, joules=window.joules * (1.5 if i % 2 else 0.5))
        for i, window in enumerate(windows(num=60, seconds=0.2))
    ]

    found = energy.measured(made_up.meter(), steps, made_up.telemetry([], {}).time_s)

    width = found.events_per_j.high - found.events_per_j.low
    assert width < 0.2 * found.events_per_j.value  # of single windows it were 0.28


@pytest.mark.parametrize(
    ("num", "update_s", "is_short"), [(9, 0.1, True), (10, 0.1, False), (1, 0.001, False)]
)
def test_fewer_than_ten_seconds_and_a_hundred_updates_are_marked(num, update_s, is_short):
    found = energy.measured(
        made_up.meter(update_s=update_s), windows(num), made_up.telemetry([], {}).time_s
    )

    assert found.is_short == is_short


@pytest.mark.parametrize(
    ("joules", "meter", "reason"),
    [
        (None, made_up.meter(), "not read in 40 of 40 samples"),
        (0.0, made_up.meter(), "did not change in 40 s"),
        (1.0, source.Absent("not root"), "not root"),
    ],
)
def test_what_was_not_measured_is_absent_with_its_reason(joules, meter, reason):
    changed = [dataclasses.replace(window, joules=joules) for window in windows()]

    found = energy.measured(meter, changed, made_up.telemetry([], {}).time_s)

    assert isinstance(found, source.Absent)
    assert reason in found.reason


@pytest.mark.parametrize(("factor", "is_doubted"), [(1.0, False), (1.04, False), (0.93, True)])
def test_the_counter_is_checked_by_the_power_of_its_windows_alone(factor, is_doubted):
    times = [0.25 * i for i in range(240)]
    recorded = made_up.telemetry(times, {})

    found = energy.measured(made_up.meter([factor * 500.0] * 240), windows(), recorded.time_s)

    assert found.sampled_j == pytest.approx(factor * 20000.0, rel=0.01)
    assert (found.doubt is not None) == is_doubted
    if is_doubted:
        assert "differs from the counter by -7 %" in found.doubt


def test_a_few_readings_of_power_check_nothing():
    recorded = made_up.telemetry([1.0, 2.0], {})

    found = energy.measured(made_up.meter([500.0, 500.0]), windows(), recorded.time_s)

    assert found.sampled_j is None
    assert found.doubt is None


def test_windows_of_another_recording_are_not_checked_and_count():
    other = [dataclasses.replace(window, start_s=None) for window in windows()]
    recorded = made_up.telemetry(range(60), {})

    found = energy.measured(made_up.meter([400.0] * 60), other, recorded.time_s)

    assert found.joules == 20000.0
    assert found.sampled_j is None


def test_unknown_readings_of_power_are_left_out():
    times = [0.5 * i for i in range(120)]
    power = [float("nan") if i % 3 == 0 else 500.0 for i in range(120)]
    recorded = made_up.telemetry(times, {})

    found = energy.measured(made_up.meter(power), windows(), recorded.time_s)

    assert found.sampled_j == pytest.approx(20000.0)
    assert isinstance(made_up.meter(), record.Meter)
