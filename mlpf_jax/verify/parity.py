"""Runs the network on golden data and judges every quantity by its stated tolerance."""

import dataclasses

import numpy as np

from mlpf_jax.verify import computed as computed_lib
from mlpf_jax.verify import golden, judging, tolerances

_ESSENTIAL = ("outputs", "losses", "gradients")


@dataclasses.dataclass(frozen=True)
class Verdict:
    """The outcome for one golden file."""

    checks: list[judging.Check]
    skipped: list[str]  # what this file does not have
    unknown: list[str]  # what it has and we cannot compare

    @property
    def missing(self) -> list[str]:
        """Essential groups of which nothing was compared."""
        groups = {check.group for check in self.checks}
        return [group for group in _ESSENTIAL if group not in groups]

    @property
    def holds(self) -> bool:
        """Whether all agreed and nothing essential was left out."""
        return not self.missing and all(check.holds for check in self.checks)


def verify(case: golden.GoldenCase, *, float64: bool = False) -> Verdict:
    """Computes a case on the default device and compares it with the file.

    Raises:
        ValueError: if float64 is asked for and the case has no float64 twin, or a weight lacks.
    """
    expected = case.float64_arrays if float64 else case.arrays
    if expected is None:
        raise ValueError(f"{case.path}: no *_f64.npz stands beside it, which --x64 compares with.")
    computed = computed_lib.compute(case, np.dtype(np.float64 if float64 else np.float32))
    judge = judging.Judge(
        expected, computed, case, tolerances.FLOAT64 if float64 else tolerances.FLOAT32
    )
    judge.run()
    handled = judge.handled | {"X", "ygen", "meta_json"}
    unknown = sorted(k for k in expected if k not in handled and not k.startswith("weights/"))
    return Verdict(judge.checks, judge.skipped, unknown)
