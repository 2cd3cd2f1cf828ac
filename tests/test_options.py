"""Presets are valid and plain, defaults are what the README says, bad flags are refused."""

import contextlib
import dataclasses
import pathlib
import typing

import pytest
from absl import flags
from hypothesis import given, settings
from hypothesis import strategies as st

from mlpf_jax import arguments, config, options, presets

PRESETS = sorted((pathlib.Path(__file__).parents[1] / "flags").glob("*.cfg"))


def request_of(*words):
    values = options.define()
    assert values(["main", *arguments.expand(words)]) == ["main"]
    return options.read(values)


def config_of(*words, platform="cpu", num_local=1):
    return request_of(*words).run_config(platform, num_local)


def test_the_presets_are_there_and_the_package_has_them():
    names = {"default", "hepscore", "regression", "reproducibility", "site", "smoke"}

    assert {path.stem for path in PRESETS} == set(presets.NAMES) == names
    for path in PRESETS:
        assert presets.find(path.stem).read_bytes() == path.read_bytes()


@pytest.mark.parametrize("platform", ["cpu", "gpu"])
@pytest.mark.parametrize("path", PRESETS, ids=lambda path: path.stem)
def test_preset_makes_a_valid_config(path, platform):
    config_of(f"--flagfile={path}", platform=platform)


@pytest.mark.parametrize("platform", ["cpu", "gpu"])
def test_the_size_for_sites_times_the_steps_of_hepscore_on_the_same_shapes(platform):
    site, whole = (
        config_of(f"--preset={name}", "--num_devices=1", platform=platform)
        for name in ("site", "hepscore")
    )

    changed = {"num_train_events", "num_test_events", "num_epochs", "steps_per_epoch"}
    for part in ("model", "data", "train"):
        ours, theirs = (dataclasses.asdict(getattr(c, part)) for c in (site, whole))
        assert {name for name in ours if ours[name] != theirs[name]} <= changed
    assert sum(site.steps_by_epoch) == 40
    assert sum(whole.steps_by_epoch) == 4000


@pytest.mark.parametrize("path", PRESETS, ids=lambda path: path.stem)
def test_preset_is_plain(path):
    """absl takes '# ...' after a value as part of it, and lets a repeated flag win in silence."""
    lines = path.read_text().splitlines()
    settings = [line for line in lines if line and not line.startswith("#")]
    names = [line.partition("=")[0] for line in settings]

    assert lines[0].startswith("# "), "say what the preset is for"
    assert all(line.startswith("--") and "=" in line and "#" not in line for line in settings)
    assert len(set(names)) == len(names)


def test_the_first_command_on_a_cpu():
    run = config_of()

    assert run.num_devices == 8
    assert run.train.batch_size == 1
    assert run.steps_by_epoch == (5, 5)
    assert (run.data.num_train_events, run.data.num_test_events) == (80, 8)
    assert run.num_infer_samples == 8
    assert run.data.num_elements == 6400
    assert run.model == config.ModelConfig()
    # The first call is no sample: nine are left of ten steps, one step each.
    assert sum(run.steps_by_epoch) - 1 >= 8


def test_the_preset_named_default_spells_that_command_out():
    assert config_of("--preset=default") == config_of() == config_of("--num_devices=all")


@pytest.mark.parametrize(
    ("num_local", "batch_size", "num_steps"),
    [
        *((1, 16, 69), (2, 8, 69), (3, 5, 74), (5, 3, 74), (6, 3, 62), (7, 2, 79), (8, 2, 69)),
        *((16, 1, 69), (32, 1, 35)),
    ],
)
@pytest.mark.parametrize("words", [[], ["--preset=reproducibility"], ["--num_devices=all"]])
def test_the_first_command_takes_all_accelerators_and_keeps_16_events_a_step_if_it_can(
    words, num_local, batch_size, num_steps
):
    request = request_of(*words)
    run = request.run_config("gpu", num_local)

    assert (run.num_devices, run.train.batch_size) == (num_local, batch_size)
    assert run.steps_by_epoch == (num_steps,) * 5
    if run.global_batch_size == 16:
        assert request.departure("gpu", run) is None
    else:
        assert request.departure("gpu", run) == (
            f"16 events per step cannot be divided evenly among {num_local} devices: each takes "
            f"{batch_size}, {batch_size * num_local} in all"
        )


def test_a_number_of_devices_that_is_given_is_a_demand():
    assert config_of("--num_devices=8", platform="gpu", num_local=1).num_devices == 8
    with pytest.raises(ValueError, match="cannot be divided evenly among --num_devices=3"):
        config_of("--num_devices=3", platform="gpu", num_local=3)


def test_a_batch_for_each_device_departs_from_nothing():
    request = request_of("--batch_size=5")
    assert request.departure("gpu", request.run_config("gpu", 3)) is None


def test_the_first_command_on_accelerators_is_the_reproducibility_preset():
    assert config_of("--preset=reproducibility", platform="gpu") == config_of(platform="gpu")


def test_the_smoke_preset_runs_on_one_device():
    assert config_of("--preset=smoke", platform="gpu", num_local=8).num_devices == 1


def test_the_hepscore_preset_has_five_events_per_device():
    run = config_of(f"--flagfile={PRESETS[0].with_name('hepscore.cfg')}", "--num_devices=8")
    assert (run.global_batch_size, run.steps_by_epoch) == (40, (50,) * 10)


def test_naming_the_work_means_whole_passes():
    assert config_of("--num_train_events=32", "--num_test_events=2").steps_by_epoch == (4, 4)
    assert config_of("--num_epochs=1").steps_by_epoch == (10,)
    assert config_of("--num_steps=7").steps_by_epoch == (7,)
    assert config_of("--num_steps=12", "--num_epochs=9").steps_by_epoch == (10, 2)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--global_batch_size=6", "--num_devices=4"], "cannot be divided evenly among --num_dev"),
        (["--global_batch_size=6", "--batch_size=2"], "exclude each other"),
        (["--num_steps=0"], "--num_steps=0: must be at least 1"),
        (["--num_devices=0"], "--num_devices=0: must be at least 1"),
        (["--padding=tight", "--events_at_once=1", "--batch_size=2"], "--events_at_once=1 exclude"),
        (["--padding=tight", "--fit"], "--fit needs --padding=full"),
        (["--fit", "--events_at_once=2", "--batch_size=2"], "--events_at_once=2 does not divide"),
        (["--fit", "--num_steps=1"], "one training step .*: give --num_steps=2 or more"),
        (["--global_batch_size=0"], "--global_batch_size=0: must be at least 1"),
        (["--num_infer_samples=-1"], "--num_infer_samples=-1: must be at least 1"),
        (["--events_at_once=-1"], "--events_at_once=-1: must not be negative"),
        (["--nomeasure_compile", "--num_epochs=0"], "--num_epochs=0: must be at least 1"),
        (["--pair_kernel=pallas"], "for TPUs, not for cpu"),
    ],
)
def test_contradictions_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        config_of(*arguments)


def test_tight_padding_takes_all_events_at_once_unless_told_otherwise():
    run = config_of("--padding=tight", "--batch_size=4")
    assert (run.data.padding, run.train.events_at_once) == ("tight", 0)
    assert config_of("--batch_size=4").train.events_at_once == 1


def test_the_search_for_the_largest_batch_needs_no_epoch_of_two_steps():
    run = config_of("--fit", "--num_epochs=1", "--num_train_events=9", "--num_devices=8")
    largest = dataclasses.replace(run.train, batch_size=4096)

    assert dataclasses.replace(run, train=largest).global_batch_size == 8 * 4096


def test_flags_take_precedence_over_a_preset_in_any_order():
    for words in (
        ("--preset=reproducibility", "--num_epochs=2", "--batch_size=3"),
        ("--num_epochs=2", "--batch_size=3", "--preset=reproducibility"),
    ):
        run = config_of(*words)
        assert (run.train.num_epochs, run.train.batch_size) == (2, 3)
        assert run.data.num_train_events == 1100


def test_a_preset_by_name_or_path_is_its_flag_file(tmp_path):
    path = PRESETS[0].with_name("hepscore.cfg")
    run = config_of(f"--flagfile={path}")

    assert run == config_of("--preset=hepscore") == config_of(f"--preset={path}")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("batch_size=4", "batch_size=4: a preset contains settings"),
        ("--preset=smoke", "--preset: a preset contains settings"),
        ("--batch=4", "Unknown command line flag 'batch'"),
        ("--flagfile=own.cfg", "own.cfg: includes itself"),
    ],
)
def test_a_file_that_is_no_preset_is_refused_by_name(tmp_path, text, message):
    path = tmp_path / "own.cfg"
    path.write_text(text)

    with pytest.raises(ValueError, match=message) as refusal:
        config_of(f"--preset={path}")
    assert str(path) in str(refusal.value)


@pytest.mark.parametrize(("words", "shuffles"), [([], False), (["--shuffle"], True)])
def test_training_events_are_shuffled_on_request(words, shuffles):
    assert config_of(*words).data.shuffle == shuffles


def test_every_field_of_a_config_that_is_a_setting_reaches_it():
    """Nothing that a flag says is lost on the way."""
    words = {"precision": "bf16", "mode": "infer", "parallel": "shard_map", "padding": "tight"}
    for name in (
        *("num_train_events", "num_test_events", "num_epochs", "steps_per_epoch", "num_steps"),
        *("num_devices", "num_infer_samples", "batch_size", "num_id_layers", "num_energy_layers"),
        *("embedding_dim", "embedding_hidden_dim", "hidden_dim", "data_seed", "seed"),
    ):
        words[name] = "4"
    words |= {"decoder_dim": "9", "learning_rate": "0.5", "bin_size": "10", "num_elements": "20"}
    words |= {"shuffle": "true", "stacks_chains": "true", "measure_compile": "false"}
    words |= {"pair_kernel": "pallas", "events_at_once": "4"}

    run = config_of(*(f"--{name}={value}" for name, value in words.items()), platform="tpu")

    default = config.RunConfig()
    for one, other in ((run, default), *((getattr(run, n), getattr(default, n)) for n in PARTS)):
        for field in dataclasses.fields(one):
            if "setting" in field.metadata:
                assert getattr(one, field.name) != getattr(other, field.name), field.name


PARTS = ("model", "data", "train")


def test_files_are_paths_and_home_is_expanded(monkeypatch):
    monkeypatch.setenv("HOME", "/home/someone")
    names = [
        name
        for name, hint in typing.get_type_hints(config.FilesConfig).items()
        if hint in (pathlib.Path, pathlib.Path | None)
    ]
    files = request_of(*(f"--{name}=~/{name}" for name in names)).files

    assert len(names) == 8
    for name in names:
        assert getattr(files, name) == pathlib.Path("/home/someone") / name


@pytest.mark.parametrize(
    "words",
    [
        ["--pair_kernel=pallas"],  # on a TPU
        ["--events_at_once=5"],  # with 3 accelerators, or others that do not divide 16
        [
            "--num_train_events=9",
            "--num_epochs=1",
            "--batch_size=2",
        ],  # eight virtual devices take all in one step
    ],
)
def test_the_check_before_jax_starts_lets_pass_what_some_machine_can_run(words):
    request_of(*words).check()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--pair_kernel=pallas", "--platform=cpu"], "for TPUs, not for cpu"),
        (["--pair_kernel=pallas", "--platform=gpu"], "for TPUs, not for gpu"),
        (["--global_batch_size=6", "--num_devices=4"], "cannot be divided evenly"),
        (
            ["--num_train_events=9", "--num_epochs=1", "--batch_size=2", "--platform=cpu"],
            "no steady-state sample",
        ),
        (["--num_devices=0"], "--num_devices=0: must be at least 1"),
    ],
)
def test_the_check_before_jax_starts_refuses_what_no_machine_can_run(words, message):
    with pytest.raises(ValueError, match=message):
        request_of(*words).check()


def test_a_global_batch_is_shared_by_the_devices():
    run = config_of("--global_batch_size=8", "--num_devices=4")
    assert run.train.batch_size == 2


def test_a_report_is_told_the_settings_as_they_were_given_and_no_path():
    words = (
        "--num-devices=2",
        "--noshuffle",
        "--preset=smoke",
        "--data_dir=/data/someone",
        "--fit",
    )
    own = f"--preset={PRESETS[0]}"

    told = request_of(*words, "--checkpoint=~/weights", "--learning_rate=0.5").arguments

    assert told == ("--preset=smoke", "--num_devices=2", "--shuffle=False", "--learning_rate=0.5")
    assert request_of(own).arguments == ("--preset=FILE",)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--price_per_hour=0"], "must be a positive number"),
        (["--price_per_hour=inf"], "must be a positive number"),
        (["--price_per_hour=1e300"], "must be a positive number, from 1e-6 to 1e9"),
        (["--price_per_hour=1e-320"], "must be a positive number, from 1e-6 to 1e9"),
        (["--price_per_hour=2", "--currency=E R"], "at most 8 letters"),
        (["--currency=EUR"], "needs --price_per_hour or --price_cents_per_hour"),
        (["--price_cents_per_hour=0"], "must be at least 1"),
        (["--price_cents_per_hour=250", "--price_per_hour=2.5"], "are the same: give one"),
    ],
)
def test_a_price_that_means_nothing_is_refused(words, message):
    with pytest.raises(ValueError, match=message):
        request_of(*words)


def test_a_price_in_cents_is_that_in_units():
    assert request_of("--price_cents_per_hour=250", "--currency=EUR").price.per_hour == 2.5


def test_a_price_changes_no_result_and_is_part_of_the_request():
    request = request_of("--price_per_hour=2.5", "--currency=EUR")

    assert request.price == config.PriceConfig(price_per_hour=2.5, currency="EUR")
    assert request.run_config("cpu", 1) == config_of()


_TEXT = (
    st.text("-.,/~ 0159aefilmntx\n\0é", max_size=12) | st.floats().map(str) | st.integers().map(str)
)


@pytest.mark.slow
@settings(max_examples=200)
@given(chosen=st.dictionaries(st.sampled_from(sorted(options.define())), _TEXT, max_size=4))
def test_any_value_of_a_flag_is_taken_or_refused(chosen):
    with contextlib.suppress(flags.Error, ValueError, OSError):
        request_of(*(f"--{name}={value}" for name, value in chosen.items())).check()
