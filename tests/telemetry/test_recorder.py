"""What is recorded around the timed windows of a run, and meanwhile."""

import functools
import threading

import pytest

from mlpf_jax.measure import load
from mlpf_jax.telemetry import readings, record, source
from mlpf_jax.telemetry import recorder as recorder_lib
from tests.telemetry import made_up


@pytest.fixture
def clock():
    return made_up.Clock()


def opened(clock, *sources, on_cpu=False, absent=None):
    return recorder_lib.Recorder(sources, absent, on_cpu=on_cpu, clock=clock, sleep=clock.sleep)


def test_a_wait_for_other_processes_before_a_window_is_not_part_of_it(clock, monkeypatch):
    busy = iter([0.0, 9.5])  # seconds of other processes, one core all the time
    watch_load = functools.partial(load.Watch, lambda: load.CpuTimes(next(busy), 0.0, 0.0))
    monkeypatch.setattr(recorder_lib.load_lib, "Watch", watch_load)

    watch = opened(clock).watch()
    clock.now += 9 + 0.5
    found = watch.end(0.5)

    assert found.start_s == 9.0
    assert found.load == load.Load(other_cores=1.0, stolen_cores=0.0)


def test_energy_is_what_the_counters_rose_by_around_each_window(clock):
    devices = [made_up.Source(clock, name=f"GPU {i}", watts=100.0 * (1 + i)) for i in range(2)]
    packages = made_up.Source(clock, name="CPU packages", part="packages", watts=50.0)
    recorder = opened(clock, *devices, packages)

    watch = recorder.watch()
    clock.now += 4
    energy = watch.end(4.0).energy

    assert (energy.device_j, energy.host_j) == (1200.0, 200.0)


def test_a_counter_that_was_reset_in_a_window_is_unknown_and_not_zero(clock):
    gpu = made_up.Source(clock)
    recorder = opened(clock, gpu)

    watch = recorder.watch()
    gpu.watts = 0.0

    assert watch.end(1.0).energy is None


def test_on_a_cpu_its_packages_are_the_devices(clock):
    packages = made_up.Source(clock, name="CPU packages", part="packages")
    recorder = opened(clock, packages, on_cpu=True)

    watch = recorder.watch()
    clock.now += 1
    energy = watch.end(1.0).energy

    assert (energy.device_j, energy.host_j) == (100.0, None)


def test_one_device_without_a_counter_makes_the_energy_unknown_with_its_reason(clock):
    slice_ = made_up.Source(clock, name="GPU 1", energy=source.Absent("a MIG slice"))
    recorder = opened(clock, made_up.Source(clock), slice_, absent={"CPU packages": "not root"})

    assert recorder.watch().end(1.0).energy is None
    found = recorder.record()
    assert found.device_meter == source.Absent("a MIG slice")
    assert found.host_meter == source.Absent("not root")


def test_the_packages_of_a_host_are_never_taken_for_its_accelerators(clock):
    packages = made_up.Source(clock, name="CPU packages", part="packages")
    recorder = opened(clock, packages, absent={"devices": "nvidia-ml-py is not installed"})

    clock.now += 1
    found = recorder.record()

    assert found.device_meter == source.Absent("nvidia-ml-py is not installed")
    assert isinstance(found.host_meter, record.Meter)


def test_sources_are_read_before_meanwhile_and_after_and_closed(clock):
    gpu = made_up.Source(clock, settle_s=1.5)

    with opened(clock, gpu) as recorder:
        assert clock.now == 101.5  # a mean power needs time
        clock.now += 1
        recorder.read_once()
        gpu.watts = 300.0
        clock.now += 1
        recorder.read_once()
        (thread,) = [one for one in threading.enumerate() if one.name == "telemetry"]

    assert not thread.is_alive()
    assert gpu.is_closed
    found = recorder.record()
    (sensors,) = found.sensors
    assert sensors.before == {"power_w": 100.0, "fan": None}
    assert sensors.after["power_w"] == 300.0
    assert sensors.series["power_w"].tolist() == [100.0, 300.0]
    assert found.time_s.tolist() == [2.5, 3.5]
    assert found.device_meter.idle_w == 100.0
    assert len(found.cost.cpu_s) == 2


def test_a_source_that_fails_ends_no_run_and_is_named(clock):
    gpu = made_up.Source(clock)
    recorder = opened(clock, gpu)
    recorder.read_once()
    gpu.sample = lambda: 1 / 0

    recorder.read_once()

    found = recorder.record()
    assert found.sensors[0].series["power_w"][0] == 100.0
    assert str(found.sensors[0].series["power_w"][1]) == "nan"
    assert "ZeroDivisionError" in found.absent["GPU 0"]


def test_a_counter_that_fails_ends_no_run_and_is_named(clock):
    broken = source.Counter("test", "board", 0.1, True, lambda: 1 / 0)
    recorder = opened(clock, made_up.Source(clock, energy=broken))

    assert recorder.watch().end(1.0).energy is None
    assert "ZeroDivisionError" in recorder.record().absent["GPU 0"]


def test_a_reading_that_never_ends_does_not_count():
    found = readings.Readings()
    found.append(1.0, 0.0, {"GPU 0": {"power_w": 5.0}})

    class Hanging(dict):
        def items(self):
            yield from super().items()
            raise RuntimeError("the thread is stopped here")

    with pytest.raises(RuntimeError):
        found.append(2.0, 0.0, Hanging({"GPU 0": {"power_w": 6.0}}))

    time_s, columns, cost = found.finished()
    assert columns["GPU 0"]["power_w"].tolist() == [5.0]
    assert len(time_s) == len(cost.cpu_s) == 1


def test_a_slow_source_is_read_less_often(clock, monkeypatch):
    times = iter([0.0, 0.02])
    monkeypatch.setattr(recorder_lib.time, "thread_time", lambda: next(times))

    assert opened(clock, made_up.Source(clock)).read_once() == pytest.approx(0.02 / 0.005)


def test_statistics_and_series_of_a_phase_are_those_inside_its_windows():
    found = made_up.telemetry(
        [1.0, 2.0, 3.0, 4.0, 5.0],
        {"GPU 0": {"power_w": [1.0, 20.0, 3.0, float("nan"), 50.0], "fan": [float("nan")] * 5}},
    )

    training = found.during([(1.5, 2.5), (3.5, 6.0)])

    assert training.time_s == (2.0, 4.0, 5.0)
    assert set(training.sources["GPU 0"]) == {"power_w"}
    power = training.sources["GPU 0"]["power_w"]
    assert power == record.Series(mean=35.0, min=20.0, max=50.0, values=(20.0, None, 50.0))
    assert found.during([(6.0, 7.0)]) == record.PhaseSeries(time_s=(), sources={"GPU 0": {}})


def test_a_long_series_is_shortened_to_means_and_its_statistics_are_not():
    number = 2000
    found = made_up.telemetry(range(number), {"GPU 0": {"x": [*range(number - 1), 9999]}})

    training = found.during([(-1.0, 5000.0)])

    series = training.sources["GPU 0"]["x"]
    assert len(series.values) == len(training.time_s) == 500
    assert series.values[:2] == training.time_s[:2] == (1.5, 5.5)
    assert (series.min, series.max) == (0.0, 9999.0)
