"""What is recorded around the timed windows of a run."""

from mlpf_jax.telemetry import recorder as recorder_lib


def test_a_window_begins_with_its_watch_and_has_the_length_that_was_timed():
    times = iter([10.0, 20.0, 30.0])
    recorder = recorder_lib.Recorder(clock=lambda: next(times))

    recorder.watch("training").end(2.0)
    recorder.watch("inference").end(0.5)
    recorder.watch("training").end(3.0)

    windows = {"training": [(10.0, 12.0), (30.0, 33.0)], "inference": [(20.0, 20.5)]}
    assert recorder.windows == windows
