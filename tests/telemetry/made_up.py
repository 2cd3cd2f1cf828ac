"""Sources and recordings with chosen values."""

from collections.abc import Mapping, Sequence

import numpy as np

from mlpf_jax.telemetry import record, source


class Clock:
    """A clock that is moved by hand."""

    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now

    def sleep(self, seconds):
        self.now += seconds


class Source:
    """A source with a counter that rises by `watts`, or with no counter but a reason."""

    def __init__(
        self, clock, *, name="GPU 0", part="device", watts=100.0, settle_s=0.0, energy=None
    ):
        self.name, self.part, self.settle_s = name, part, settle_s
        self.watts, self.clock, self.is_closed = watts, clock, False
        self.refused: dict[str, str] = {}
        self.num_samples = 0
        used = source.Counter("test", "board", 0.1, True, lambda: self.watts * clock.now)
        self.energy = energy or used

    def describe(self):
        return {"power_limit_w": 700.0}

    def sample(self):
        self.num_samples += 1
        return {"power_w": self.watts, "fan": None}

    def close(self):
        self.is_closed = True


def telemetry(
    time_s: Sequence[float],
    series: Mapping[str, Mapping[str, Sequence[float]]],
    meter: record.Meter | source.Absent | None = None,
) -> record.Telemetry:
    """A recording with these values by source and name."""
    return record.Telemetry(
        sensors=tuple(
            record.Sensors(
                name=name,
                description={"power_limit_w": 700.0, "share": "whole card"},
                before={},
                after={},
                series={key: np.array(values, np.float64) for key, values in columns.items()},
                refused={},
            )
            for name, columns in series.items()
        ),
        absent={"CPU packages": "RAPL may only be read by root (energy_uj: permission denied)"},
        device_meter=meter or source.Absent("no counter"),
        host_meter=source.Absent("no counter"),
        time_s=np.array(time_s, np.float64),
        cost=record.Cost(cpu_s=(0.001,) * len(time_s), period_s=(1.0,) * len(time_s)),
    )


def meter(
    power_w: Sequence[float] | None = None, idle_w: float | None = 100.0, update_s: float = 0.1
) -> record.Meter:
    """A meter of one GPU."""
    return record.Meter(
        source="NVML total energy",
        scope="GPU board",
        update_s=update_s,
        power_limits_w=(700.0,),
        idle_w=idle_w,
        power_w=None if power_w is None else np.array(power_w, np.float64),
    )
