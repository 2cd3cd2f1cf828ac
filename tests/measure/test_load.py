"""The load by others is busy time without our own."""

import pytest

from mlpf_jax.measure import load

STAT = "cpu  1000 200 300 9000 50 10 20 40 0 0\ncpu0 1 2 3 4 5 6 7 8 9 0\n"


def test_idle_and_waiting_time_are_not_busy_and_stolen_time_is_separate():
    times = load.parse(STAT, ticks_per_s=100, own_s=3.0)

    assert times == load.CpuTimes(busy_s=15.3, stolen_s=0.4, own_s=3.0)


def test_the_load_by_others_is_busy_time_without_our_own():
    before = load.CpuTimes(100.0, 5.0, 50.0)
    after = load.CpuTimes(104.0, 5.5, 53.0)

    assert load.between(before, after, 2.0) == load.Load(other_cores=0.5, stolen_cores=0.25)


def test_negative_differences_count_as_no_load():
    before = load.CpuTimes(100.0, 5.0, 50.0)

    assert load.between(before, load.CpuTimes(100.99, 5.0, 51.0), 1.0) == load.Load(0.0, 0.0)


def test_the_times_are_those_of_the_cores_that_we_may_use(tmp_path, monkeypatch):
    (tmp_path / "stat").write_text(STAT)
    monkeypatch.setattr(load, "_STAT", tmp_path / "stat")
    monkeypatch.setattr(load.slot, "allowed_cores", lambda: (0,))
    monkeypatch.setattr(load.time, "process_time", lambda: 3.0)
    monkeypatch.setattr(load.os, "sysconf", lambda name: 100)

    assert load.read() == load.CpuTimes(busy_s=0.19, stolen_s=0.08, own_s=3.0)


def test_a_system_without_proc_stat_gives_none():
    assert load.between(None, load.CpuTimes(1.0, 1.0, 1.0), 1.0) is None
    assert load.Watch(lambda: None).lap(1.0) is None


def test_a_watch_goes_from_call_to_call():
    times = iter([(0.0, 0.0, 0.0), (3.0, 0.0, 1.0), (4.0, 1.0, 2.0)])
    watch = load.Watch(lambda: load.CpuTimes(*next(times)))

    assert watch.lap(1.0) == load.Load(2.0, 0.0)
    assert watch.lap(1.0) == load.Load(0.0, 1.0)


def test_a_core_that_we_may_not_use_does_not_count():
    busy_elsewhere = (
        "cpu  900 0 100 0 0 0 0 6 0 0\ncpu0 10 0 20 0 0 0 0 1 0 0\n"
        "cpu1 90 0 0 0 0 0 0 5 0 0\ncpu10 800 0 80 0 0 0 0 0 0 0\n"
    )

    assert load.parse(busy_elsewhere, 100, 0.0, (0,)) == load.CpuTimes(0.3, 0.01, 0.0)
    assert load.parse(busy_elsewhere, 100, 0.0, (0, 1)) == load.CpuTimes(1.2, 0.06, 0.0)


@pytest.mark.parametrize("stat", ["", "cpu 1 2 3", "cpu a b c d e f g h"])
def test_invalid_proc_stat_text_is_refused(stat):
    with pytest.raises(ValueError, match=r"unpack|invalid literal|has no line"):
        load.parse(stat, 100, 0.0)


def test_a_core_missing_in_proc_stat_is_refused():
    with pytest.raises(ValueError, match="has no line for cpu7"):
        load.parse(STAT, 100, 0.0, (0, 7))
