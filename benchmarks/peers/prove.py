"""Verifies the peers on the golden data: outputs, losses, gradients, weights after updates.

    python -m benchmarks.peers.prove [NAME...]

Each peer computes in its own environment (made by `make peers`). Its results are checked here, with
the same code and tolerances as for our own network. Without NAME all peers are verified. Exit
status: 0 if all pass, 1 if one does not, 2 for wrong usage.
"""

import json
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from absl import flags

from benchmarks.peers import contender as contender_lib
from benchmarks.peers import processes
from benchmarks.peers import workload as workload_lib
from mlpf_jax import cli
from mlpf_jax import config as config_lib
from mlpf_jax.verify import computed as computed_lib
from mlpf_jax.verify import golden, judging, tolerances

_GOLDEN = flags.DEFINE_string("golden", str(golden.SMALL_CASE), "Golden file (.npz).")

_TIMEOUT_S = 1200.0
_NUM_THREADS = 1
_NUM_UPDATES = 3


def workload_of(case: golden.GoldenCase) -> workload_lib.Workload:
    """Returns a golden case as a workload with its batch as the only one."""
    return workload_lib.Workload(
        model=case.model_config,
        train=config_lib.TrainConfig(
            batch_size=len(case.arrays["X"]), learning_rate=case.learning_rate
        ),
        weights=case.weights(),
        elements=case.arrays["X"][None],
        targets=case.arrays["ygen"][None],
    )


def judge(case: golden.GoldenCase, answers: Mapping[str, np.ndarray]) -> list[judging.Check]:
    """Compares the results of `answers` with the case.

    Raises:
        ValueError: if the gradient or a weight after an update is missing.
    """
    start = case.weights()
    trainable = {name for name in start if not name.endswith("/codebook")}
    gradients = golden.group(answers, "grads/")
    weights = [golden.group(answers, f"weights_step{i}/") for i in range(1, _NUM_UPDATES + 1)]
    for found in (gradients, *weights):
        if set(found) != trainable:
            raise ValueError(f"missing or unexpected weights: {sorted(set(found) ^ trainable)}.")
    inferred, *losses = json.loads(str(answers["losses"]))
    outputs = golden.group(answers, "out/")
    computed = computed_lib.Computed(
        outputs={name: value for name, value in outputs.items() if name != "logits"},
        logits=outputs["logits"],
        inner={},
        decoder={},
        losses=losses,
        counts=list(answers["counts"]),
        gradients=gradients,
        weights=[start, weights[0], weights[-1]],
        rotations={},
    )
    judge = judging.Judge(case.arrays, computed, case, tolerances.FLOAT32)
    judge.run()
    return judge.checks + _inference_checks(inferred, losses[0])


def _inference_checks(
    inferred: Mapping[str, float], trained: Mapping[str, float]
) -> list[judging.Check]:
    """Inference is a separate program: its losses must equal those of the first training step."""
    checks = []
    for name, value in trained.items():
        difference = abs(inferred[name] - value)
        relative = difference / abs(value) if value else difference
        tolerance = tolerances.FLOAT32.losses
        checks.append(judging.Check("inference", name, difference, relative, tolerance))
    return checks


def main(argv: Sequence[str]) -> int:
    """Verifies every given peer."""
    try:
        case = golden.load(Path(_GOLDEN.value))
        names = argv[1:] or contender_lib.PEERS
        failed = [name for name in names if not _prove(name, case)]
    except ValueError as error:
        return cli.complain(error, cli.USAGE)
    except RuntimeError as error:
        return cli.complain(str(error), cli.FAILURE)  # in full: the peer's own last lines
    return cli.FAILURE if failed else 0


def _prove(name: str, case: golden.GoldenCase) -> bool:
    with tempfile.TemporaryDirectory() as folder:
        workload_lib.write(Path(folder), workload_of(case))
        out = Path(folder) / "answers.npz"
        variables = processes.surroundings(Path(folder), _NUM_THREADS)
        arguments = [name, folder, str(out)]
        processes.run(name, "benchmarks.peers.answers", arguments, variables, _TIMEOUT_S)
        with np.load(out, allow_pickle=False) as file:
            checks = judge(case, dict(file))
    failed = [check for check in checks if not check.holds]
    for check in failed:
        print(f"FAILS {check.key}: {check.measure:.3g}, allowed {check.tolerance:.3g}")
    verdict = "DOES NOT HOLD" if failed else "all hold"
    print(f"{name}: {len(checks)} quantities of {case.path.name}: {verdict}", flush=True)
    return not failed


if __name__ == "__main__":
    cli.run(main, takes_files=True)
