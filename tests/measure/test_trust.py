"""Reasons to distrust a measurement appear exactly at their limits."""

import dataclasses

import numpy as np
import pytest

from mlpf_jax.measure import load, machine, slot, trust
from mlpf_jax.stats import summaries
from tests.stats import noise

QUIET = summaries.Summary(
    avg=10.0,
    median=10.0,
    min=9.0,
    max=11.0,
    count=20,
    spread=0.1,
    interval_low=9.9,
    interval_high=10.1,
    effective_count=18.0,
    correlation_p_value=0.3,
)
STEADY = summaries.Drift(change=0.001, p_value=0.8, verdict="none")
STATE = machine.MachineState(
    governors=("performance",),
    core_mhz=3000.0,
    swapped_pages=0,
    throttle_events=0,
)


def changed(**fields):
    return machine.MachineChange(before=STATE, after=dataclasses.replace(STATE, **fields))


def test_a_quiet_measurement_gives_no_reason_to_distrust():
    assert trust.in_samples(QUIET, STEADY) == []
    assert trust.in_load(load.Load(0.05, 0.01), 2, on_cpu=True) == []
    assert trust.in_machine(changed(), on_cpu=True) == []


@pytest.mark.parametrize(
    ("fields", "word"),
    [
        ({"effective_count": 3.2, "correlation_p_value": 0.002}, "only 3.2 independent samples"),
        ({"count": 5, "effective_count": 5.0}, "only 5 samples"),
        ({"interval_low": 7.0}, "31 % wide"),
    ],
)
def test_few_samples_and_wide_intervals_are_reasons_to_distrust(fields, word):
    (doubt,) = trust.in_samples(dataclasses.replace(QUIET, **fields), STEADY)
    assert word in doubt


def test_an_insignificant_correlation_is_no_reason_to_distrust():
    assert trust.in_samples(dataclasses.replace(QUIET, effective_count=3.2), STEADY) == []
    many = dataclasses.replace(QUIET, effective_count=4.0, correlation_p_value=0.002)
    assert trust.in_samples(many, STEADY) == []


@pytest.mark.parametrize(
    ("count", "correlation", "least", "most"),
    [(6, 0.0, 0.0, 0.02), (9, 0.0, 0.0, 0.02), (9, 0.3, 0.0, 0.06), (16, 0.9, 0.6, 1.0)],
)
def test_the_rate_of_distrust_because_of_correlation(count, correlation, least, most):
    """On a quiet machine, where no interval is wide: one false alarm in a hundred phases."""
    series = 10 + 0.05 * noise.first_order(np.random.default_rng(3), (300, count), correlation)
    doubted = [bool(trust.in_samples(summaries.summarize(s), STEADY)) for s in series.tolist()]
    assert least <= np.mean(doubted) <= most


def test_a_drift_is_reported_with_its_sign():
    drift = summaries.Drift(change=-0.08, p_value=0.001, verdict="drifting")
    assert trust.in_samples(QUIET, drift) == ["a drift of -8 %"]


def test_other_processes_matter_more_on_a_cpu_than_on_the_host_of_a_device():
    busy = load.Load(other_cores=0.3, stolen_cores=0.0)

    assert trust.in_load(busy, 2, on_cpu=True) == ["other processes on 0.30 of 2 cores"]
    assert trust.in_load(busy, 2, on_cpu=False) == []
    assert trust.in_load(load.Load(1.2, 0.0), 2, on_cpu=False)


def test_stolen_cores_matter_on_every_platform():
    (doubt,) = trust.in_load(load.Load(0.0, 0.2), 4, on_cpu=False)
    assert "hypervisor" in doubt
    assert trust.in_load(load.Load(0.0, 0.2), 16, on_cpu=False) == []


@pytest.mark.parametrize(
    ("fields", "word"),
    [
        ({"swapped_pages": 5000}, "5000 pages swapped"),
        ({"throttle_events": 2}, "throttled by heat 2 times"),
    ],
)
def test_changes_of_the_machines_state_are_reasons_to_distrust(fields, word):
    (doubt,) = trust.in_machine(changed(**fields), on_cpu=True)
    assert word in doubt


def test_an_unknown_machine_state_gives_no_reason_to_distrust():
    unknown = machine.MachineState(
        governors=None, core_mhz=None, swapped_pages=None, throttle_events=None
    )
    change = machine.MachineChange(before=unknown, after=unknown)

    assert trust.in_machine(change, on_cpu=True) == []


def test_an_unknown_load_is_a_reason_to_distrust():
    assert trust.in_unknown_load([None, None]) == ["the load of other processes is unknown"]
    assert trust.in_unknown_load([None, load.Load(0.0, 0.0)]) == []
    assert trust.in_unknown_load([]) == []


@pytest.mark.parametrize(
    ("cores", "quota", "doubts"),
    [
        ((0, 1), 0.5, ["a CPU quota of 0.5 cores, shared by threads on 2 cores"]),
        ((0, 1), 2.0, []),
        ((0, 1), None, []),
        (None, 0.5, []),
    ],
)
def test_a_quota_below_the_affinity_is_reported(cores, quota, doubts):
    given = slot.Slot(allowed_cores=cores, cpu_quota=quota, control_groups="v2", memory_bytes=None)

    assert trust.in_slot(given, on_cpu=True) == doubts
    assert trust.in_slot(given, on_cpu=False) == []


def test_throttled_periods_are_reported():
    before = dataclasses.replace(STATE, throttling=slot.Throttling(100, 50))
    after = dataclasses.replace(STATE, throttling=slot.Throttling(811, 753))

    doubts = trust.in_machine(machine.MachineChange(before=before, after=after), on_cpu=False)

    assert doubts == ["throttled by the CPU quota in 703 of 711 periods"]


@pytest.mark.parametrize(
    ("driver", "preference", "is_doubted"),
    [
        ("intel_pstate", "performance", False),
        ("amd-pstate-epp", "performance", False),
        ("intel_pstate", "balance_performance", True),
        ("acpi-cpufreq", "performance", True),
        ("intel_pstate", None, True),
        (None, None, True),
    ],
)
def test_powersave_saves_power_unless_the_hardware_is_told_to_perform(
    driver, preference, is_doubted
):
    state = dataclasses.replace(
        STATE,
        governors=("powersave",),
        frequency_drivers=driver and (driver,),
        energy_preferences=preference and (preference,),
    )
    change = machine.MachineChange(before=state, after=state)

    expected = ["frequency governor powersave"] if is_doubted else []
    assert trust.in_machine(change, on_cpu=True) == expected
    assert trust.in_machine(change, on_cpu=False) == []


def test_the_mean_load_weighs_samples_by_their_length_and_skips_unknown_ones():
    loads = [load.Load(1.0, 0.0), None, load.Load(0.0, 0.4)]

    mean = trust.mean_load(loads, [1.0, 50.0, 3.0])

    assert mean is not None
    assert mean.other_cores == pytest.approx(0.25)
    assert mean.stolen_cores == pytest.approx(0.3)


def test_samples_too_short_for_the_ticks_are_not_judged():
    assert trust.mean_load([load.Load(1.0, 0.0)] * 3, [0.1] * 3) is None
