"""The results of peers are checked like those of our network, and wrong ones are found."""

import json

import numpy as np
import pytest

from benchmarks.peers import contender as contender_lib
from benchmarks.peers import processes, prove
from mlpf_jax.verify import golden


@pytest.fixture(scope="module")
def case():
    return golden.load(golden.SMALL_CASE)


@pytest.fixture
def answers(case):
    """The results of a perfect peer, taken from the golden file itself."""
    arrays = case.arrays
    kept = ("out/", "grads/", "weights_step1/", "weights_step3/")
    found = {key: value for key, value in arrays.items() if key.startswith(kept)}
    found |= {
        f"weights_step2/{name}": value
        for name, value in golden.group(arrays, "weights_step1/").items()
    }
    cls = arrays["out/cls"].astype(np.float64)
    found["out/logits"] = np.log(np.maximum(cls, 1e-300))
    found["counts"] = np.array([_counts(case)] * 3)
    found["losses"] = np.array(json.dumps([_losses(arrays, i) for i in (1, 1, 2, 3)]))
    return found


def _losses(arrays, step):
    names = ("cls", "charge", "pt", "eta", "sin_phi", "cos_phi", "energy")
    losses = {name: float(arrays[f"train/{name}_loss_step{step}"]) for name in names}
    return losses | {"total": float(arrays[f"train/loss_step{step}"])}


def _counts(case):
    mask = case.arrays["X"][..., 0] != 0
    true = case.arrays["ygen"][..., 0][mask].astype(int)
    predicted = case.arrays["out/cls"].argmax(-1)[mask]
    counts = np.zeros((6, 6))
    np.add.at(counts, (true, predicted), 1)
    return counts


def failed(case, answers):
    return {check.key for check in prove.judge(case, answers) if not check.holds}


def test_a_peer_that_agrees_with_the_reference_passes(case, answers):
    checks = prove.judge(case, answers)

    # The accuracy of steps 2 and 3 is not in these answers: the counts are those of step 1.
    wrong = {check.key for check in checks if not check.holds}
    assert wrong <= {"train/acc_unweighted_step2", "train/acc_unweighted_step3"}
    assert len(checks) > 400


@pytest.mark.parametrize(
    "key", ["out/pt", "out/cls", "grads/cg_0/msg_0/theta", "weights_step3/cg_1/msg_0/W_h"]
)
def test_one_wrong_number_is_found(case, answers, key):
    answers[key] = answers[key].copy()
    answers[key].flat[np.abs(answers[key]).argmax()] *= 1.05

    assert key in failed(case, answers)


def test_inference_that_differs_from_training_is_found(case, answers):
    inferred, *trained = json.loads(str(answers["losses"]))
    inferred["eta"] *= 1.001
    answers["losses"] = np.array(json.dumps([inferred, *trained]))

    assert "eta" in failed(case, answers)


@pytest.mark.parametrize("kind", ["grads", "weights_step1", "weights_step3"])
def test_answers_that_leave_a_weight_out_are_no_proof(case, answers, kind):
    del answers[f"{kind}/output_dec/ffn_pt/dense_3/bias"]

    with pytest.raises(ValueError, match="output_dec/ffn_pt/dense_3/bias"):
        prove.judge(case, answers)


def test_the_workload_of_a_case_has_its_weights_and_its_one_batch(case):
    workload = prove.workload_of(case)

    assert workload.elements.shape == (1, *case.arrays["X"].shape)
    assert set(workload.weights) == set(case.weights())
    assert workload.train.learning_rate == case.learning_rate


@pytest.mark.slow
@pytest.mark.parametrize("name", contender_lib.PEERS)
def test_a_peer_passes_in_its_own_environment(case, name):
    try:
        processes.interpreter(name)
    except ValueError as error:
        pytest.skip(str(error))

    assert prove._prove(name, case)
