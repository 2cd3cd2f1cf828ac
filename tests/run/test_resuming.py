"""An interrupted run goes on to the same bits, or is refused with the difference."""

import contextlib
import dataclasses
import gc
import re
import shutil
import signal
import time
from pathlib import Path

import jax
import pytest
from absl import logging

from mlpf_jax import atomic, config, stopping
from mlpf_jax import progress as progress_lib
from mlpf_jax.run import loop, resuming, story, track
from mlpf_jax.run import setup as setup_lib
from mlpf_jax.telemetry import recorder as recorder_lib
from mlpf_jax.training import checkpoint_folder
from tests import tiny
from tests.run.test_story import fake_inputs, surroundings

RUN = tiny.run_config(num_epochs=3)
KNOWN = {"machine": "a", "host": "b", "--seed": "1", "--parallel": "pmap"}


def files(folder, **settings):
    every = {"checkpoint_every": "1"} if "checkpoint_every" not in settings else {}
    return config.FilesConfig(checkpoint_dir=folder, **every, **settings)


def keeper_of(folder, **settings):
    return resuming.Keeper(
        files(folder, **settings), stopping.Stop(), progress_lib.Progress(quiet=True)
    )


@contextlib.contextmanager
def opened(folder, known=KNOWN, **settings):
    """A keeper, and the state of the checkpoint that it finds, or another one."""
    keeper, drawn = keeper_of(folder, **settings), tiny.random_state(RUN)
    try:
        yield keeper, keeper.open(known, drawn) or drawn
    finally:
        keeper._store.close()


def open_and_close(folder, known, **settings):
    with opened(folder, known, **settings):
        pass


def refusing(message):
    return pytest.raises(ValueError, match=re.escape(message))


@pytest.fixture
def saved(written, tmp_path):
    """A folder with a checkpoint at step 1 and one at step 2."""
    return Path(shutil.copytree(written, tmp_path / "checkpoints"))


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    folder = tmp_path_factory.mktemp("written")
    with opened(folder) as (keeper, current):
        for step in (1, 2):
            keeper.track.losses.append({"total": float(step)})
            keeper.rescue(current._replace(step=current.step + step))
        assert keeper.problems == []
    return folder


def test_the_newest_checkpoint_is_used(saved):
    with opened(saved) as (keeper, current):
        assert int(current.step) == 2
        assert keeper.track.losses == [{"total": 1.0}, {"total": 2.0}]
        assert keeper.track.segment == 1


def test_the_last_save_of_a_process_counts(saved):
    """It could not be recorded in the checkpoint itself."""
    shutil.rmtree(saved / "2")

    with opened(saved) as (keeper, _):
        (earlier,) = keeper.track.earlier

    assert earlier.num_checkpoints == 1
    assert 0 < earlier.checkpoint_s < earlier.total_s


def test_a_process_that_only_compiled_has_lost_that_time(saved, monkeypatch):
    now_s = time.time() + 1000
    monkeypatch.setattr(time, "time", lambda: now_s)
    with opened(saved) as (keeper, _):
        now_s += 60
        keeper.check_program("inference", "a" * 64)
    now_s += 1000

    with opened(saved) as (keeper, _):
        (earlier,) = keeper.track.earlier

    assert 60 <= earlier.lost_s < 100


def test_a_damaged_checkpoint_is_left_out_and_named(saved, capsys):
    (path,) = (saved / "2" / "record").glob("metadata")
    path.write_bytes(path.read_bytes().replace(b"2.0", b"3.0"))
    keeper = resuming.Keeper(files(saved), stopping.Stop(), progress_lib.Progress())

    current = keeper.open(KNOWN, tiny.random_state(RUN))

    assert int(current.step) == 1
    assert f"checkpoint left out: {saved / '2'}: damaged" in capsys.readouterr().err
    keeper._store.close()


def test_without_a_sound_checkpoint_nothing_starts_anew(saved):
    for step in ("1", "2"):
        (saved / step / "sha256.json").write_text("{}")

    with pytest.raises(ValueError, match=r"no checkpoint can be used: .* damaged"):
        keeper_of(saved).open(KNOWN, tiny.random_state(RUN))


def test_what_was_not_finished_is_removed(saved):
    (saved / "2" / "sha256.json").unlink()

    with opened(saved) as (_, current):
        assert int(current.step) == 1
    assert not (saved / "2").exists()


def test_other_folders_are_not_taken_for_checkpoints(tmp_path):
    (tmp_path / "2022").mkdir()
    (tmp_path / "2022" / "thesis.tex").touch()

    with refusing(f"--checkpoint_dir={tmp_path}: contains 2022, which is no checkpoint"):
        keeper_of(tmp_path)

    assert (tmp_path / "2022" / "thesis.tex").exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"track": {}}, "sums"),
        ({"facts": 1}, "has no attribute"),
        ({"segment": {"total_s": "1"}}, "instead of"),
        ({"saved_at_s": "now"}, "instead of"),
        ({"losses": [{"total": 1.0}]}, "1 steps were recorded"),
        ({"losses": [{"total": "1"}, {}]}, "instead of"),
    ],
)
def test_a_record_with_foreign_content_is_refused(saved, monkeypatch, change, message):
    with opened(saved) as (keeper, current):
        restored, _ = keeper._store.newest(current)
        record = dict(restored.record)
        track = {**record["track"], **change} if "losses" in change else record["track"]
        foreign = restored._replace(record={**record, "track": track, **change})
        monkeypatch.setattr(keeper._store, "newest", lambda like: (foreign, ()))

        with pytest.raises(ValueError, match=f"step 2: wrong content: .*{message}"):
            keeper.open(KNOWN, current)


def test_two_runs_do_not_share_a_folder(saved):
    first = keeper_of(saved)

    with pytest.raises(ValueError, match=r"^--checkpoint_dir=.*: another run writes"):
        keeper_of(saved)
    first._store.close()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"resume": "never"}, "--resume=never does not overwrite"),
        ({"resume": "auto"}, "that run is complete"),
    ],
)
def test_what_does_not_fit_the_folder_is_refused_with_the_way_out(saved, settings, message):
    (saved / "complete").touch()

    with pytest.raises(ValueError, match=message):
        keeper_of(saved, **settings)


def test_an_empty_folder_cannot_be_resumed(tmp_path):
    with pytest.raises(ValueError, match="no checkpoint is there, but --resume=must"):
        keeper_of(tmp_path, resume="must")


def facts_of(slot, sensors=()):
    environment = surroundings()
    around = environment["surroundings"]
    slot = around["slot"] | slot
    environment |= {"surroundings": around | {"slot": slot}}
    devices = tuple(jax.local_devices()[:1])
    return resuming.facts(RUN, devices, fake_inputs(RUN), environment, sensors)


def test_less_of_the_same_cores_is_another_condition():
    """Both quotas count as two cores."""
    tight, loose = (facts_of({"cpu_quota": quota}) for quota in (1.2, 2.0))

    assert {name for name in tight if tight[name] != loose[name]} == {"CPU quota"}
    assert resuming.common(tight) == resuming.common(loose)


def test_another_device_of_the_same_kind_is_another_condition():
    """Or a part of it, which can have the name of the whole."""
    whole = {"uuid": "GPU-1", "share": "whole card"}
    others = [whole | {"uuid": "GPU-2"}, whole | {"share": "partition CPX"}]
    first, *changed = (facts_of({}, [{"kind": "host"}, one]) for one in (whole, *others))

    for one in changed:
        assert {name for name in one if one[name] != first[name]} == {"identity of devices"}
        assert resuming.common(one) == resuming.common(first)


@pytest.mark.parametrize("change", [{"machine": "z"}, {"host": "z"}, {"--parallel": "shard_map"}])
def test_other_conditions_are_refused_or_cost_the_score(saved, change):
    ((name, value),) = change.items()
    told = f"{name}: {KNOWN[name]} there, {value} here"

    with refusing(f"under other conditions: {told}. With --resume=must"):
        open_and_close(saved, KNOWN | change)
    with opened(saved, KNOWN | change, resume="must", allow_change=True) as (keeper, _):
        assert keeper.track.no_score == f"resumed under other conditions: {told}"


def test_another_run_is_refused_in_any_case(saved):
    with refusing("of another run: --seed: 1 there, 2 here"):
        open_and_close(saved, KNOWN | {"--seed": "2"}, resume="must", allow_change=True)


def test_another_program_is_another_condition(saved):
    with opened(saved) as (keeper, _):
        keeper.check_program("training", "a" * 64)
        keeper.track.losses.append({"total": 3.0})
        keeper.rescue(tiny.random_state(RUN)._replace(step=jax.numpy.int32(3)))
    with opened(saved) as (keeper, _):
        keeper.check_program("training", "a" * 64)
        with pytest.raises(ValueError, match=r"training program: a{12} there, b{12} here"):
            keeper.check_program("training", "b" * 64)


def test_a_checkpoint_that_cannot_be_written_does_not_end_the_run(full_disk, capfd):
    with opened(full_disk) as (keeper, current):
        keeper.track.losses.append({"total": 1.0})
        keeper.visit(current, 0.1)
        (problem,) = keeper.problems

    assert "step 1 was not saved" in problem
    assert "No space left on device" in problem
    assert capfd.readouterr().err == ""


@pytest.fixture
def same_log():
    """Gives the log of the tests its level back."""
    before = logging.get_verbosity()
    yield
    logging.set_verbosity(before)


def test_a_disk_that_fills_up_during_a_save_is_one_line(make_disk, monkeypatch, capfd, same_log):
    """After the trial: Orbax fails in several threads, and some end later than the save."""
    disk = make_disk("8k")  # one page for the lock
    with opened(disk) as (keeper, current):
        monkeypatch.setattr(atomic, "try_writing", lambda folder, num_bytes: None)
        keeper.track.losses.append({"total": 1.0})
        keeper.visit(current, 0.1)
        (problem,) = keeper.problems
        assert keeper.saved_step is None
    logging.error("said by such a thread")
    gc.collect()  # of tasks whose exceptions nobody has seen

    assert problem.endswith(f"step 1 was not saved: {disk}: No space left on device.")
    assert capfd.readouterr().err == ""


def test_a_validation_removes_no_checkpoint(saved):
    """The one of its step may be the only one."""
    with opened(saved) as (keeper, current):
        keeper.track.epochs.append(None)
        keeper.rescue(current)

        assert keeper.segment.num_checkpoints == 0
        assert keeper.saved_step == 2


def test_a_folder_that_has_vanished_is_not_marked(tmp_path):
    with opened(tmp_path / "checkpoints") as (keeper, _):
        shutil.rmtree(tmp_path / "checkpoints")

        keeper.complete()


class _Late(resuming.Keeper):
    """Gets a signal while it saves at the end of training."""

    def rescue(self, current):
        self._stop._handle(signal.SIGTERM, None)
        super().rescue(current)


@pytest.fixture
def late(tmp_path):
    stop, progress = stopping.Stop(), progress_lib.Progress(quiet=True)
    keeper = _Late(files(tmp_path), stop, progress)
    keeper.track.losses.append({"total": 1.0})
    yield keeper
    keeper._store.close()


def end_training(keeper, samples):
    """Trains where all epochs are done."""
    setup = setup_lib.Setup(
        RUN, "cpu", lambda batch: batch, keeper._progress, recorder_lib.Recorder(), keeper._stop
    )
    done = track.Track()
    done.samples.extend(samples)
    done.epochs.extend([None] * len(RUN.steps_by_epoch))
    loop.train(setup, tiny.random_state(RUN), print, print, iter(()), done, keeper)


def test_the_save_at_the_end_of_training_is_not_cut_short_by_a_signal(late):
    end_training(late, samples=[None])

    assert late._stop.reason == "SIGTERM"
    assert late.saved_step == 1


def test_a_run_of_processes_of_one_step_each_says_that_it_has_no_sample(late):
    with pytest.raises(RuntimeError, match="each process of this run made one step"):
        end_training(late, samples=[])

    assert late.saved_step == 1


class _Interrupted(resuming.Keeper):
    """Is told to stop after a given step."""

    stop_after = 0

    def visit(self, current, seconds):
        if self.track.num_steps == self.stop_after:
            self._stop.reason, self._stop.status = "SIGTERM", 143
        super().visit(current, seconds)


def run(stop_after, folder, run_config, **settings):
    stop = stopping.Stop()
    progress = progress_lib.Progress(quiet=True)
    keeper = _Interrupted(
        files(folder, **settings) if folder else config.FilesConfig(), stop, progress
    )
    keeper.stop_after = stop_after
    devices = tuple(jax.local_devices()[: run_config.num_devices])
    try:
        inputs = fake_inputs(run_config)
        return story.run(
            run_config, devices, inputs, surroundings(), progress, stop=stop, keeper=keeper
        ).result
    finally:
        if keeper._store:
            keeper._store.close()


@pytest.mark.slow
@pytest.mark.parametrize("padding", ["full", "tight"])
def test_a_run_that_is_stopped_again_and_again_ends_with_the_same_bits(
    tmp_path, monkeypatch, padding
):
    drawn = []

    def draw(setup, key):
        drawn.append(setup)
        return tiny.random_state(setup.config)

    monkeypatch.setattr(story, "_draw", draw)
    data = dataclasses.replace(RUN.data, padding=padding, shuffle=True)
    config = dataclasses.replace(
        RUN,
        num_devices=2,
        data=data,
        train=dataclasses.replace(RUN.train, batch_size=1, events_at_once=0),
    )
    whole = run(None, None, config)

    for step in (2, 4, 6):  # the second one is the end of an epoch
        with pytest.raises(stopping.Stopped, match="SIGTERM"):
            run(step, tmp_path / "checkpoints", config, checkpoint_every="100")
        assert checkpoint_folder.steps(tmp_path / "checkpoints")[0] == step
    resumed = run(None, tmp_path / "checkpoints", config, checkpoint_every="100")

    assert len(drawn) == 2  # for the whole run and for the first segment: others read a checkpoint
    for name in ("loss_sha256", "params_sha256", "batch_sha256", "inference_quality"):
        assert getattr(resumed, name) == getattr(whole, name)
    assert [epoch.train for epoch in resumed.epochs] == [epoch.train for epoch in whole.epochs]
    assert [one.first_step for one in resumed.segments] == [0, 2, 4, 6]
    assert sum(one.num_steps for one in resumed.segments) == 12
    assert any("4 segments" in doubt for doubt in resumed.doubts)
    if padding == "full":  # with tight padding the first calls are no steps
        assert sum(sample.num_steps for sample in resumed.training.samples) == 12 - 4
