"""Runs the network on golden data and compares every quantity within its tolerance."""

import dataclasses

import flax.errors
import numpy as np

from mlpf_jax.verify import computed as computed_lib
from mlpf_jax.verify import golden, judging, tolerances

_ESSENTIAL = ("outputs", "losses", "gradients")
# What the network raises, besides ValueError, for sizes and arrays that do not fit each other.
_UNFIT = (ArithmeticError, AttributeError, LookupError, TypeError, flax.errors.FlaxError)


@dataclasses.dataclass(frozen=True)
class Verdict:
    """The outcome for one golden file."""

    checks: list[judging.Check]
    skipped: list[str]  # quantities that the file does not contain
    unknown: list[str]  # contents of the file that cannot be compared

    @property
    def missing(self) -> list[str]:
        """Essential groups without any compared quantity."""
        groups = {check.group for check in self.checks}
        return [group for group in _ESSENTIAL if group not in groups]

    @property
    def holds(self) -> bool:
        """Whether all quantities agree and no essential group is missing."""
        return not self.missing and all(check.holds for check in self.checks)


def verify(case: golden.GoldenCase, *, float64: bool = False) -> Verdict:
    """Computes a case on the default device and compares it with the file.

    Raises:
        ValueError: if float64 is requested but the case has no float64 version, or if a weight is
            missing or anything does not fit the rest.
    """
    expected = case.float64_arrays if float64 else case.arrays
    if expected is None:
        raise ValueError(f"{case.path}: no *_f64.npz in the same folder, which --x64 needs.")
    limits = tolerances.FLOAT64 if float64 else tolerances.FLOAT32
    try:
        computed = computed_lib.compute(case, np.dtype(np.float64 if float64 else np.float32))
        judge = judging.Judge(expected, computed, case, limits)
        judge.run()
    except _UNFIT as error:
        reason = str(error).partition("\n")[0] or type(error).__name__
        raise ValueError(f"{case.path}: it does not fit the network: {reason}") from error
    handled = judge.handled | {"X", "ygen", "meta_json"}
    unknown = sorted(k for k in expected if k not in handled and not k.startswith("weights/"))
    return Verdict(judge.checks, judge.skipped, unknown)
