"""Presets are valid and plain, defaults are what the README says, bad flags are refused."""

import pathlib

import pytest
from absl import flags
from absl.testing import flagsaver

from mlpf_jax import main

PRESETS = sorted((pathlib.Path(__file__).parents[1] / "flags").glob("*.cfg"))


def config_of(*arguments, platform="cpu"):
    with flagsaver.flagsaver():
        assert flags.FLAGS(["main", *arguments]) == ["main"]
        return main.config_from_flags(platform)


def test_the_presets_are_there():
    assert {path.stem for path in PRESETS} == {
        "default",
        "hepscore",
        "regression",
        "reproducibility",
        "smoke",
    }


@pytest.mark.parametrize("platform", ["cpu", "gpu"])
@pytest.mark.parametrize("path", PRESETS, ids=lambda path: path.stem)
def test_preset_makes_a_valid_config(path, platform):
    config_of(f"--flagfile={path}", platform=platform)


@pytest.mark.parametrize("path", PRESETS, ids=lambda path: path.stem)
def test_preset_is_plain(path):
    """absl takes '# ...' after a value as part of it, and lets a repeated flag win in silence."""
    lines = path.read_text().splitlines()
    settings = [line for line in lines if line and not line.startswith("#")]
    names = [line.partition("=")[0] for line in settings]

    assert lines[0].startswith("# "), "say what the preset is for"
    assert all(line.startswith("--") and "=" in line and "#" not in line for line in settings)
    assert len(set(names)) == len(names)


def test_the_command_of_the_readme_on_a_cpu():
    run = config_of("--num_devices=8")

    assert run.num_devices == 8
    assert run.train.batch_size == 1
    assert run.steps_by_epoch == (5, 5)
    assert (run.data.num_train_events, run.data.num_test_events) == (80, 8)
    assert run.num_infer_samples == 8
    assert run.data.num_elements == 6400
    assert run.model == main.config_lib.ModelConfig()
    # The first call is no sample: nine are left of ten steps, one step each.
    assert sum(run.steps_by_epoch) - 1 >= 8


def test_the_preset_named_default_spells_that_command_out():
    spelled = config_of(f"--flagfile={PRESETS[0].with_name('default.cfg')}", "--num_devices=8")
    assert spelled == config_of("--num_devices=8")


def test_the_command_of_the_readme_on_accelerators_is_the_reproducibility_preset():
    preset = f"--flagfile={PRESETS[0].with_name('reproducibility.cfg')}"
    run = config_of("--num_devices=8", platform="gpu")

    assert run == config_of(preset, "--num_devices=8", platform="gpu")
    assert run.global_batch_size == 16
    assert run.steps_by_epoch == (69,) * 5


def test_the_hepscore_preset_has_five_events_per_device():
    run = config_of(f"--flagfile={PRESETS[0].with_name('hepscore.cfg')}", "--num_devices=8")
    assert (run.global_batch_size, run.steps_by_epoch) == (40, (50,) * 10)


def test_naming_the_work_means_whole_passes():
    assert config_of("--num_train_events=6", "--num_test_events=2").steps_by_epoch == (6, 6)
    assert config_of("--num_epochs=1").steps_by_epoch == (80,)
    assert config_of("--num_steps=7").steps_by_epoch == (7,)
    assert config_of("--num_steps=90", "--num_epochs=9").steps_by_epoch == (80, 10)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--global_batch_size=6", "--num_devices=4"], "cannot be shared evenly by --num_dev"),
        (["--global_batch_size=6", "--batch_size=2"], "exclude each other"),
        (["--num_steps=0"], "--num_steps=0: must be at least 1"),
        (["--num_devices=0"], "--num_devices=0: must be at least 1"),
        (["--padding=tight", "--events_at_once=1", "--batch_size=2"], "--events_at_once=1 exclude"),
        (["--padding=tight", "--fit"], "--fit asks for --padding=full"),
    ],
)
def test_contradictions_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        config_of(*arguments)


def test_tight_padding_takes_all_events_at_once_unless_told_otherwise():
    run = config_of("--padding=tight", "--batch_size=4")
    assert (run.data.padding, run.train.events_at_once) == ("tight", 0)
    assert config_of("--batch_size=4").train.events_at_once == 1


def test_a_global_batch_is_shared_by_the_devices():
    run = config_of("--global_batch_size=8", "--num_devices=4")
    assert run.train.batch_size == 2
