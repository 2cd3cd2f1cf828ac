"""A whole run on tiny events, in this process."""

import dataclasses
import gzip
import io
import json
import re

import jax
import pytest

from mlpf_jax import progress
from mlpf_jax.measure import environment, window
from mlpf_jax.report import hepscore, reader, result, summary
from mlpf_jax.run import ending, inputs, story
from mlpf_jax.telemetry import recorder as recorder_lib
from mlpf_jax.training import state
from tests import tiny

# Of the events trained on. Two make a step, one on each device: they fill two or four bins.
LENGTHS = (20, 30, 50, 10, 64, 80, 32, 17)
TEST_LENGTHS = (64, 33, 50, 80)  # four bins each step


def describe(process, num_events):
    return result.DatasetResult(
        provenance={"kind": "simulated", "process": process, "seed": 1},
        num_events=num_events,
        num_elements=num_events * 60,
        num_cut_events=1,
        num_cut_elements=9,
        sha256="0" * 64,
    )


def fake_inputs(run):
    train = inputs.Dataset(
        tiny.FakeEvents(1, LENGTHS), describe("ttbar", run.data.num_train_events)
    )
    test = inputs.Dataset(
        tiny.FakeEvents(2, TEST_LENGTHS), describe("qcd", run.data.num_test_events)
    )
    return inputs.Inputs(train=None if run.mode == "infer" else train, test=test)


def surroundings():
    runtime = {"xla_flags": "", "allocator": "default", "num_cores": 2}
    return environment.describe() | {"runtime": runtime}


@pytest.fixture(scope="module", autouse=True)
def _quick_weights():
    """The network's own initialisers take ten seconds to compile."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(state, "create", lambda run, key: tiny.random_state(run))
        yield


def carry_out(run, **extras):
    return story.run(
        run,
        tuple(jax.local_devices()[: run.num_devices]),
        fake_inputs(run),
        surroundings(),
        progress.Progress(quiet=True),
        **extras,
    )


@pytest.fixture(scope="module")
def extras_folder(tmp_path_factory):
    return tmp_path_factory.mktemp("extras")


@pytest.fixture(scope="module")
def served():
    """The windows that the run's server was given."""
    return []


@pytest.fixture(scope="module")
def outcome(extras_folder, served):
    run = dataclasses.replace(tiny.run_config(batch_size=1, num_epochs=2), num_devices=2)
    extras = {"checkpoint": extras_folder / "weights", "profile": extras_folder / "profile"}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(window, "server", served.append)
        return carry_out(run, **extras)


@pytest.fixture(scope="module")
def finished(outcome):
    return outcome.result


def test_epochs_hold_their_events_and_the_validation(finished):
    assert [epoch.num_steps for epoch in finished.epochs] == [4, 4]
    assert [epoch.num_events for epoch in finished.epochs] == [8, 8]
    assert all(0 < epoch.validation_s < epoch.seconds for epoch in finished.epochs)
    assert finished.epochs[1].train.losses["total"] < finished.epochs[0].train.losses["total"]
    assert finished.mean_epoch_time == finished.epochs[1].seconds
    assert finished.mean_throughput == pytest.approx(8 / finished.epochs[1].seconds)


def test_every_step_but_the_first_is_in_a_sample(finished):
    assert sum(sample.num_steps for sample in finished.training.samples) == 7
    assert finished.training.first_call_s > 0
    assert len(finished.inference.samples) == 3
    score = finished.training.score
    assert score.min <= score.interval_low <= score.median <= score.interval_high <= score.max


def test_the_report_is_valid_and_complete(finished, tmp_path):
    document = hepscore.report(finished, "--num_devices=2")
    path, _ = hepscore.write(document, tmp_path)

    assert path.name == "mlpf-jax_summary.json"
    assert [p.name for p in tmp_path.iterdir()] == [path.name]
    scores = document["report"]["wl-scores"]
    assert scores == {
        "training": finished.training.score.median,
        "inference": finished.inference.score.median,
    }
    assert document["report"]["wl-stats"]["mean_throughput"] == finished.mean_throughput
    assert document["run_info"]["is_emulated"]


def test_the_report_tells_how_far_its_scores_can_be_trusted(finished):
    stats = hepscore.report(finished, "")["report"]["wl-stats"]

    assert 1 <= stats["training"]["effective_count"] <= stats["training"]["count"]
    for phase in stats["phases"].values():
        assert phase["drift"]["verdict"] in ("none", "drifting", "too few samples")
        assert len(phase["sample_other_cores"]) == len(phase["sample_s"])
    assert set(stats["machine"]["before"]) == set(stats["machine"]["after"])
    # Three samples of a tiny network are no measurement, and the report says so.
    assert any(doubt.startswith("inference: only") for doubt in stats["doubts"])


def test_reasons_to_distrust_are_one_line_of_the_summary(finished, monkeypatch):
    def lines(doubts):
        monkeypatch.setattr(result.RunResult, "doubts", doubts)
        stream = io.StringIO()
        summary.show(finished, "x.json", stream)
        return [
            line
            for line in stream.getvalue().splitlines()
            if "warning: unreliable measurement" in line
        ]

    assert lines(()) == []
    assert lines(("training: a drift of -9 %", "3000 pages swapped")) == [
        "warning: unreliable measurement: training: a drift of -9 %; 3000 pages swapped"
    ]


@pytest.mark.parametrize(("number", "text"), [(1, "on 1 CPU core "), (2, "on 2 CPU cores ")])
def test_one_core_is_no_cores(finished, number, text):
    surrounded = finished.environment | {"runtime": {"num_cores": number}}
    stream = io.StringIO()
    summary.show(dataclasses.replace(finished, environment=surrounded), "x.json", stream)

    assert text in stream.getvalue()


def test_the_summary_fits_on_one_screen(finished):
    stream = io.StringIO()
    summary.show(finished, "results/mlpf-jax_summary.json", stream)
    lines = stream.getvalue().splitlines()

    assert len(lines) <= 30
    assert max(len(line) for line in lines if "warning: unreliable measurement" not in line) <= 92
    assert f"{finished.training.score.median:.4g} events/s" in stream.getvalue()
    assert "emulated" in stream.getvalue()


def test_weights_and_profile_are_written_after_all_and_windows_are_served(
    outcome, extras_folder, served
):
    assert list(extras_folder.iterdir()) == []
    _, extras = outcome
    assert ending.finish(extras) == []
    (windows,) = served
    assert windows.events_per_step == 2
    assert windows.memory_bytes > 0
    assert windows.programs.keys() == windows.phases.keys() == {"training", "inference"}
    assert all(run(2) > 0 for run in windows.phases.values())

    assert (extras_folder / "weights").is_dir()
    folder = extras_folder / "profile"
    assert len(list(folder.rglob("*.xplane.pb"))) == 1
    (trace,) = folder.rglob("*.trace.json.gz")
    events = json.loads(gzip.decompress(trace.read_bytes()))["traceEvents"]
    assert {"inference step", "training step"} <= {event.get("name") for event in events}


@pytest.mark.slow
def test_weights_and_profile_change_no_bit(finished):
    plain = carry_out(finished.config).result

    assert (plain.loss_sha256, plain.params_sha256) == (
        finished.loss_sha256,
        finished.params_sha256,
    )
    assert plain.training.program_sha256 == finished.training.program_sha256


@pytest.fixture(scope="module")
def tight(finished):
    """The same run without empty bins."""
    data = dataclasses.replace(finished.config.data, padding="tight")
    run = dataclasses.replace(finished.config, data=data)
    return carry_out(run).result


def test_tight_padding_trains_the_same(finished, tight):
    for ours, theirs in zip(tight.epochs, finished.epochs, strict=True):
        for name in ("train", "validation"):
            expected = getattr(theirs, name).losses
            assert getattr(ours, name).losses == pytest.approx(expected, rel=1e-5), name


def test_tight_padding_counts_the_work_of_the_bins_it_computes(finished, tight):
    needed = dict.fromkeys((2, 4), 0)
    for pair in zip(LENGTHS[::2], LENGTHS[1::2], strict=True):
        needed[-(-min(max(pair), 64) // 16)] += 2  # epochs
    needed[2] -= 1  # the first step makes no sample

    used = {capacity.num_bins: capacity.num_steps for capacity in tight.training.capacities}
    assert used == needed
    num_bins = sum(bins * steps for bins, steps in needed.items())
    expected_flops = num_bins * 2 / (14 * 4) * finished.training.flops_per_event
    assert tight.training.flops_per_event == pytest.approx(expected_flops, rel=0.01)
    elements = sum(sample.num_elements for sample in tight.training.samples)
    padding = tight.training.padding_fraction(tight.config)
    assert padding == pytest.approx(1 - elements / (32 * num_bins))


def test_tight_padding_has_scores_of_its_own(tight):
    document = hepscore.report(tight, "")

    hepscore.validate(document)
    assert set(document["report"]["wl-scores"]) == {"training-tight", "inference-tight"}
    assert document["run_info"]["padding"] == "tight"
    assert reader.from_document(document, "a").variant == "float32, tight"


@pytest.mark.parametrize(("columns", "isatty"), [(40, True), (300, True), (40, False)])
def test_the_summary_shows_paths_as_they_are_and_fits_the_terminal(
    finished, monkeypatch, columns, isatty
):
    monkeypatch.setenv("COLUMNS", str(columns))
    monkeypatch.setenv("TERM", "xterm")
    start = {"platform_demanded": "auto", "fallback": "[x] is [/y]", "departure": None}
    run = dataclasses.replace(finished, environment={**finished.environment, "start": start})
    stream = io.StringIO()
    stream.isatty = lambda: isatty

    summary.show(run, "[bold]a[/z]/é.json", stream)

    panel, _, rest = re.sub(r"\x1b\[[\d;]*m", "", stream.getvalue()).partition("╯")
    assert max(map(len, panel.splitlines())) == (40 if columns == 40 and isatty else 92)
    assert "[x] is [/y]" in rest
    assert rest.endswith("report: [bold]a[/z]/é.json\n")


def test_an_unavailable_device_is_a_reason_to_distrust(finished):
    start = {"platform_demanded": "auto", "fallback": "NVIDIA GPU not used: x", "departure": None}
    run = dataclasses.replace(finished, environment={**finished.environment, "start": start})

    assert run.doubts == ("NVIDIA GPU not used: x", *finished.doubts)
    document = hepscore.report(run, "")
    hepscore.validate(document)
    assert document["app"]["environment"]["start"] == start


@pytest.mark.slow
def test_a_loss_that_is_not_finite_ends_the_run():
    with pytest.raises(RuntimeError, match="is not finite"):
        carry_out(tiny.run_config(learning_rate=1e30))


class NeedsMore(recorder_lib.Recorder):
    """Its counter needs a longer window than all that there have been."""

    seconds = 0.0

    @property
    def least_window_s(self):
        return self.seconds + 0.1

    def watch(self):
        watch = super().watch()
        end = watch.end

        def counted(seconds):
            self.seconds += seconds
            return end(seconds)

        watch.end = counted
        return watch


@pytest.mark.slow
def test_samples_for_a_counter_of_energy_change_neither_the_losses_nor_the_weights(finished):
    measured = carry_out(finished.config, recorder=NeedsMore()).result

    assert measured.loss_sha256 == finished.loss_sha256
    assert measured.params_sha256 == finished.params_sha256
    assert len(measured.inference.samples) == len(finished.inference.samples) == 3
    assert all(phase.extra_samples for phase in measured.phases.values())
