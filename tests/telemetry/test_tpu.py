"""TPUs by recorded answers of libtpu's monitoring."""

import types

from mlpf_jax.telemetry import source, tpu


def monitoring(**values):
    def get_metric(name):
        if name not in values:
            raise RuntimeError(f"unknown metric {name}")
        return types.SimpleNamespace(data=lambda: values[name])

    return types.SimpleNamespace(list_supported_metrics=lambda: [*values], get_metric=get_metric)


def test_use_is_the_mean_of_the_chips_and_memory_their_sum():
    chips = tpu.Tpus(
        monitoring(
            duty_cycle_pct=["80.00", "100.00"],
            tensorcore_util=["20.0", "40.0"],
            hbm_capacity_usage=["1000", "3000"],
            hbm_capacity_total=["16000", "16000"],
            tpu_throttle_score=["0", "2"],
        )
    )

    assert chips.sample() == {
        "use": 0.9,
        "tensor_core_use": 0.3,
        "used_memory_bytes": 4000.0,
        "slowed_by_throttling": 1.0,
    }
    assert chips.describe()["memory_bytes"] == 32000.0
    assert isinstance(chips.energy, source.Absent)


def test_what_libtpu_does_not_know_or_not_yet_tell_is_none_with_a_reason():
    chips = tpu.Tpus(monitoring(duty_cycle_pct=[]))

    assert set(chips.sample().values()) == {None}
    assert chips.refused["tensor_core_use"] == "unknown metric tensorcore_util"
