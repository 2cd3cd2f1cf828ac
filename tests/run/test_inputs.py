"""Events are checked before use."""

import dataclasses

import pytest

from mlpf_jax import config, progress
from mlpf_jax.events import source
from mlpf_jax.run import inputs
from tests import tiny

QUIET = progress.Progress(quiet=True)


def run_config(mode="both"):
    run = dataclasses.replace(tiny.run_config(), mode=mode)
    data = config.DataConfig(num_train_events=8, num_test_events=8, num_elements=64)
    return dataclasses.replace(run, data=data)


def files(data_dir):
    return config.FilesConfig(data_dir=data_dir)


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    for process in ("ttbar", "qcd"):
        source.simulate_store(folder / process, process, 8, seed=1, num_workers=1)
    return folder


def test_both_sets_are_opened_and_described(data_dir):
    opened = inputs.open_inputs(run_config(), files(data_dir), QUIET)

    assert opened.test.description.sha256 == (
        "4db8cf42bcb60b4994c74bbf4064a1cff07c33c10e2867ad0b1c88fb0ae005b0"
    )
    assert opened.test.description.num_events == opened.test.description.num_cut_events == 8
    cut = opened.test.description.num_elements - 8 * 64
    assert opened.test.description.num_cut_elements == cut
    assert opened.train.description.provenance["process"] == "ttbar"


def test_inference_alone_needs_no_training_events(data_dir):
    assert inputs.open_inputs(run_config("infer"), files(data_dir), QUIET).train is None


def test_standard_events_that_differ_are_refused(data_dir, monkeypatch):
    monkeypatch.setitem(inputs.STANDARD_SHA256, ("qcd", 8), "f" * 64)
    with pytest.raises(ValueError, match="the 8 qcd events are not the standard ones"):
        inputs.open_inputs(run_config("infer"), files(data_dir), QUIET)


def test_a_flipped_bit_is_found(data_dir, tmp_path):
    source.simulate_store(tmp_path / "qcd", "qcd", 8, seed=1, num_workers=1)
    path = next(tmp_path.rglob("elements.npy"))
    content = bytearray(path.read_bytes())
    content[5000] ^= 1
    path.chmod(0o644)
    path.write_bytes(content)

    with pytest.raises(ValueError, match=r"elements.npy is damaged"):
        inputs.open_inputs(run_config("infer"), files(tmp_path), QUIET)
