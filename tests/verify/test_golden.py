"""A golden file is read, or refused in one line."""

import json
import os
import shutil

import numpy as np
import pytest

from mlpf_jax.simulation import npz
from mlpf_jax.verify import golden


def test_the_shipped_case_has_its_float64_twin():
    case = golden.load(golden.SMALL_CASE)
    assert case.float64_arrays is not None
    assert case.float64_arrays["out/pt"].dtype == np.float64
    assert case.model_config.bin_size == 32


def test_names_survive_the_way_into_the_network_and_back():
    case = golden.load(golden.SMALL_CASE)
    params, rotations = golden.variables_from_weights(case.weights(), case.model_config)

    named = golden.weights_from_params(params, case.model_config)

    fixed = {name for name in case.weights() if name.endswith("codebook")}
    assert set(named) == set(case.weights()) - fixed
    for name, values in named.items():
        np.testing.assert_array_equal(values, case.weights()[name])
    assert sum(len(tree["rotations"]) for tree in rotations["encoder"].values()) == len(fixed)


def write_npz(path, **arrays):
    np.savez(path, **arrays)
    return path


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda p: p, "no such file"),
        (lambda p: p.write_bytes(b"not a zip") and p, "not a golden file"),
        (lambda p: p.write_bytes(b"") or p, "not a golden file"),
        (lambda p: write_npz(p, a=np.zeros(3)), "no meta_json"),
        (lambda p: write_npz(p, meta_json=np.array("{")), "no meta_json"),
        (lambda p: write_npz(p, meta_json=np.array("[" * 10**5)), "no meta_json"),
        (lambda p: write_npz(p, meta_json=np.array("5")), "bin_size"),
        (lambda p: write_npz(p, meta_json=np.array(json.dumps({"n_pad": 1}))), "bin_size"),
        (lambda p: write_npz(p, a=np.array([{}], dtype=object)), "not a golden file"),
    ],
    ids=[
        *("missing", "garbage", "empty", "other npz", "broken json", "deep json", "a number"),
        *("no sizes", "pickled"),
    ],
)
def test_a_file_that_is_not_a_golden_file_is_refused_in_one_line(tmp_path, make, message):
    path = make(tmp_path / "case.npz")
    with pytest.raises(ValueError, match=message) as error:
        golden.load(path)
    assert "\n" not in str(error.value)
    assert str(path) in str(error.value)


def test_a_truncated_file_is_refused(tmp_path):
    path = tmp_path / "case.npz"
    path.write_bytes(golden.SMALL_CASE.read_bytes()[:100_000])
    with pytest.raises(ValueError, match="not a golden file"):
        golden.load(path)


def test_a_pipe_in_the_place_of_the_second_file_is_refused_and_not_waited_for(tmp_path):
    path = shutil.copy(golden.SMALL_CASE, tmp_path / "case.npz")
    os.mkfifo(tmp_path / "case_f64.npz")

    with pytest.raises(ValueError, match=r"case_f64\.npz: not a file"):
        golden.load(path)


def test_a_missing_weight_is_named():
    case = golden.load(golden.SMALL_CASE)
    weights = case.weights()
    del weights["cg_0/msg_0/theta"]
    with pytest.raises(ValueError, match="cg_0/msg_0/theta"):
        golden.variables_from_weights(weights, case.model_config)


def test_a_small_file_that_unpacks_to_much_is_refused(tmp_path, monkeypatch):
    path = tmp_path / "zeros.npz"
    np.savez_compressed(path, X=np.zeros(10**6))
    monkeypatch.setattr(npz, "MOST_BYTES", 10**6)

    with pytest.raises(ValueError, match="not a golden file"):
        golden.load(path)
