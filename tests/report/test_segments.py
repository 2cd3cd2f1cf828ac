"""A run in several segments: each has a start of its own, and what was lost is told."""

import dataclasses
import io
import json

import pytest

from mlpf_jax.measure import records
from mlpf_jax.report import hepscore, reader, summary
from tests.report import made_up_result

SLOW, STEADY = 4.0, 1.0


def segment(number):
    """A segment whose first three samples are slow."""
    found = made_up_result.samples(3, SLOW) + made_up_result.samples(30, STEADY)
    return tuple(dataclasses.replace(sample, segment=number) for sample in found)


def process(first_step, **times):
    known = {"total_s": 100.0, "lost_s": 0.0, "recovery_s": 10.0, "checkpoint_s": 0.0} | times
    return records.Segment(
        started_at="2026-11-29T20:00:00+00:00",
        host="node1",
        first_step=first_step,
        num_steps=330,
        num_checkpoints=1,
        **known,
    )


@pytest.fixture
def resumed():
    return made_up_result.run(
        segment(0) + segment(1),
        segments=(process(0, lost_s=20.0, checkpoint_s=5.0), process(330, checkpoint_s=5.0)),
    )


def test_the_start_of_each_segment_is_no_part_of_the_score(resumed):
    phase = resumed.training

    assert phase.num_unsteady == 6
    assert {sample.seconds for sample in phase.steady_samples} == {STEADY}
    assert phase.score.median == phase.score.min == 100.0


def test_a_reader_finds_the_same_steady_samples(resumed, tmp_path):
    path, _ = hepscore.write(hepscore.report(resumed, ""), tmp_path)
    phase = reader.read(path).phases["training"]

    assert phase.rates == [sample.events_per_s for sample in resumed.training.steady_samples]
    assert phase.sample_segment == [0] * 33 + [1] * 33


def test_a_run_in_one_process_has_no_list_of_segments(tmp_path):
    document = hepscore.report(made_up_result.run(segment(0), segments=(process(0),)), "")

    phase = document["report"]["wl-stats"]["phases"]["training"]
    assert not {"sample_segment", "sample_is_unsteady"} & set(phase)
    assert phase["num_unsteady_samples"] == 3


def test_goodput_counts_what_was_lost_recovery_and_checkpoints(resumed):
    assert resumed.goodput == pytest.approx(1 - (20 + 5 + 5 + 10) / 200)
    without_step = process(660, recovery_s=None, total_s=50.0)
    more = dataclasses.replace(resumed, segments=(*resumed.segments, without_step))
    assert more.goodput == pytest.approx(1 - (20 + 5 + 5 + 10 + 50) / 250)
    assert dataclasses.replace(resumed, segments=()).goodput is None


def test_the_summary_and_the_doubts_tell_of_segments(resumed):
    stream = io.StringIO()
    summary.show(resumed, "x.json", stream)

    assert "2, goodput 80 %, 20 s of work lost at interruptions" in stream.getvalue()
    assert "interrupted and resumed: measured in 2 segments" in resumed.doubts


def test_a_run_without_a_score_is_not_taken_for_a_result(resumed, tmp_path):
    unscored = dataclasses.replace(resumed, no_score="resumed under other conditions: host")
    path, _ = hepscore.write(hepscore.report(unscored, ""), tmp_path)

    assert path.name == "mlpf-jax_noscore.json"
    assert "wl-scores" not in json.loads(path.read_text())["report"]
    with pytest.raises(ValueError, match=r"noscore.json: the run has no score: resumed under"):
        reader.read(path)


def test_a_folder_of_results_is_read_without_what_is_none(resumed, tmp_path):
    path, _ = hepscore.write(hepscore.report(resumed, ""), tmp_path)
    (tmp_path / "mlpf-jax_incomplete.json").write_text('{"status": "incomplete", "reason": "x"}')

    assert reader.find([tmp_path]) == [path]
    with pytest.raises(ValueError, match="the run did not end: x"):
        reader.read(tmp_path / "mlpf-jax_incomplete.json")


def test_epochs_with_a_first_call_are_not_averaged(resumed):
    (epoch,) = resumed.epochs
    epochs = tuple(
        dataclasses.replace(epoch, seconds=seconds, has_first_call=has_first_call)
        for seconds, has_first_call in [(30.0, True), (20.0, False), (50.0, True), (22.0, False)]
    )

    run = dataclasses.replace(resumed, epochs=epochs)

    assert run.mean_epoch_time == 21.0
    assert run.mean_throughput == pytest.approx((epoch.num_events / 20 + epoch.num_events / 22) / 2)
