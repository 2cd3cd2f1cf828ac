"""Settings that cannot be are refused with the flag, the value and the rule."""

import dataclasses

import pytest

from mlpf_jax import config
from tests import tiny


@pytest.mark.parametrize(
    ("section", "change", "message"),
    [
        ("model", {"bin_size": 0}, "--bin_size=0: must be at least 1"),
        ("model", {"decoder_dim": 4}, "--decoder_dim=4: must be at least 8"),
        ("data", {"num_train_events": 0}, "--num_train_events=0"),
        ("data", {"num_elements": 60}, "--num_elements=60 is not a multiple of --bin_size=16"),
        ("data", {"num_elements": 16}, "makes 1 bins"),
        ("data", {"data_seed": -1}, "--data_seed=-1: must not be negative"),
        ("data", {"data_seed": 10**22}, f"--data_seed={10**22}: must be at most {2**63 - 1}"),
        ("train", {"num_epochs": 2**31}, "--num_epochs=2147483648: must be at most 2147483647"),
        ("train", {"batch_size": 0}, "--batch_size=0"),
        ("train", {"learning_rate": 0.0}, "--learning_rate=0.0: must be a positive number"),
        ("train", {"learning_rate": float("nan")}, "--learning_rate=nan"),
        ("train", {"events_at_once": 3}, "--events_at_once=3 does not divide the 2"),
        ("data", {"padding": "tight"}, "--padding=tight and --events_at_once=1 exclude each other"),
        ("train", {"num_steps": 1}, "gives no steady-state sample"),
        ("train", {"num_epochs": 2**31 - 1}, "2147483647 epochs of 4 steps are more than 1000000"),
        ("train", {"num_steps": 2**31 - 1}, "536870912 epochs of 4 steps are more than 1000000"),
        (None, {"num_devices": 0}, "--num_devices=0"),
        (None, {"seed": -1}, "--seed=-1: must be from 0"),
        (None, {"seed": 2**32}, "--seed=4294967296: must be at most 4294967295"),
    ],
)
def test_impossible_settings_are_refused(section, change, message):
    run = tiny.run_config(events_at_once=1)

    def change_it():
        if section is None:
            return dataclasses.replace(run, **change)
        changed = dataclasses.replace(getattr(run, section), **change)
        return dataclasses.replace(run, **{section: changed})

    with pytest.raises(ValueError, match=message):
        change_it()


@pytest.mark.parametrize(
    ("train", "expected"),
    [
        ({"num_epochs": 3}, (4, 4, 4)),  # 8 events in batches of 2
        ({"num_epochs": 3, "batch_size": 3}, (3, 3, 3)),  # the last one short
        ({"num_epochs": 2, "steps_per_epoch": 5}, (5, 5)),
        ({"num_steps": 10}, (4, 4, 2)),
        ({"num_steps": 10, "steps_per_epoch": 3}, (3, 3, 3, 1)),
    ],
)
def test_steps_are_planned_by_epoch(train, expected):
    assert tiny.run_config(**train).steps_by_epoch == expected


def test_the_defaults_are_the_published_hyper_parameters():
    run = config.RunConfig()
    assert (run.model.num_id_layers, run.model.num_energy_layers) == (3, 3)
    assert (run.model.bin_size, run.data.num_elements) == (640, 6400)
    assert (run.model.hidden_dim, run.model.embedding_dim) == (256, 128)
    assert run.train.learning_rate == 1e-4
    assert run.seed == 1234
    assert hash(run) == hash(config.RunConfig())


def test_the_fused_kernel_is_for_tpus():
    assert config.fused_pair_kernel("tpu") == "mosaic"
    for platform in ("gpu", "cpu"):
        message = f"--pair_kernel=pallas: the fused kernel is for TPUs, not for {platform}. Choose"
        with pytest.raises(ValueError, match=message):
            config.fused_pair_kernel(platform)
