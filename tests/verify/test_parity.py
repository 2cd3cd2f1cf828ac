"""The network computes what the original graph computes, and the verifier can fail."""

import dataclasses
import subprocess
import sys

import numpy as np
import pytest

from mlpf_jax.verify import golden, parity


@pytest.fixture(scope="module")
def case():
    return golden.load(golden.SMALL_CASE)


def test_the_small_case_passes(case):
    verdict = parity.verify(case)

    failures = [check for check in verdict.checks if not check.holds]
    assert verdict.holds, failures
    assert len(verdict.checks) > 450
    assert not verdict.unknown


@pytest.mark.slow
def test_the_small_case_passes_as_users_compile():
    """In a process of its own, with all optimisations."""
    done = subprocess.run(
        [sys.executable, "-m", "mlpf_jax.commands.verify"],
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.rstrip().endswith("\nall hold: small_A.npz")


@pytest.mark.parametrize(
    "name",
    [
        "cg_0/ffn_dist/dense_0/kernel",
        "cg_0/ffn_dist/dense_1/bias",
        "cg_energy_1/msg_0/W_t",
        "cg_1/msg_0/b_t",
        "output_dec/layernorm/beta",
        "output_dec/ffn_phi/dense_3/bias",
        "output_dec/ffn_pt/dense_0/kernel",
    ],
)
def test_a_single_wrong_weight_is_reported(case, name):
    key = f"weights/{name}"
    wrong = case.arrays[key].copy()
    wrong.flat[0] += 0.05

    verdict = parity.verify(dataclasses.replace(case, arrays={**case.arrays, key: wrong}))

    assert not verdict.holds


def without(case, *prefixes):
    kept = {k: v for k, v in case.arrays.items() if not k.startswith(prefixes)}
    return dataclasses.replace(case, arrays=kept)


def test_a_file_without_gradients_proves_nothing(case):
    verdict = parity.verify(without(case, "grads/", "grad_norm/"))
    assert verdict.missing == ["gradients"]
    assert not verdict.holds


def test_norms_and_row_sums_stand_in_for_tensors(case):
    """The full-size file has these instead; made here from the small one's tensors."""
    reduced = without(case, "grads/", "weights_step")
    arrays = {k: v for k, v in reduced.arrays.items() if not k.startswith("inter/")}
    for key, values in case.arrays.items():
        kind, _, name = key.partition("/")
        if key.startswith("inter/") and key.endswith(("/dist", "/enc")):
            arrays[f"{key}_rowsum"] = values.sum(-1)
        elif key.endswith("/dm"):
            arrays[key.removesuffix("dm") + "adj_rowsum"] = values.sum(-1)
        elif key.endswith(("/bins", "/lsh_bin_idx")):
            arrays[key] = values
        elif kind in ("weights_step1", "weights_step3"):
            delta = values.astype(np.float64) - case.arrays[f"weights/{name}"]
            arrays[f"weight_delta_norm_{kind.removeprefix('weights_')}/{name}"] = np.array(
                np.linalg.norm(delta)
            )

    verdict = parity.verify(dataclasses.replace(case, arrays=arrays))

    assert verdict.holds, [check for check in verdict.checks if not check.holds]
    assert {check.group for check in verdict.checks} >= {"weight changes", "encodings"}
    assert not verdict.unknown
    assert any(key.startswith("grads/") for key in verdict.skipped)


@pytest.mark.parametrize("key", ["loss/pt", "train/pt_loss_step2"])
def test_a_loss_that_is_off_by_more_than_rounding_is_reported(case, key):
    arrays = {**case.arrays, key: np.asarray(case.arrays[key] * (1 + 5e-5))}

    verdict = parity.verify(dataclasses.replace(case, arrays=arrays))

    assert [check.key for check in verdict.checks if not check.holds] == [key]


def test_a_wrong_shape_fails_instead_of_raising(case):
    arrays = {**case.arrays, "out/pt": case.arrays["out/pt"][:1]}
    verdict = parity.verify(dataclasses.replace(case, arrays=arrays))
    assert [c.key for c in verdict.checks if not c.holds] == [
        "out/pt (shape (2, 256, 1), not (1, 256, 1))"
    ]


def test_float64_needs_the_twin(case):
    with pytest.raises(ValueError, match=r"no \*_f64.npz in the same folder"):
        parity.verify(dataclasses.replace(case, float64_arrays=None), float64=True)


@pytest.mark.parametrize(
    "sizes", [{"lr": [1]}, {"dist_mult": 10**400}, {"n_common": 1}, {"output_dim": 10**9}]
)
def test_a_file_whose_parts_do_not_fit_is_refused_in_one_line(case, sizes):
    odd = dataclasses.replace(case, meta={**case.meta, **sizes})

    with pytest.raises(ValueError, match="it does not fit the network: ") as caught:
        parity.verify(odd)

    assert "\n" not in str(caught.value)


def test_a_batch_of_another_shape_is_refused(case):
    odd = dataclasses.replace(case, arrays={**case.arrays, "X": np.zeros(5, np.float32)})

    with pytest.raises(ValueError, match="it does not fit the network: "):
        parity.verify(odd)
