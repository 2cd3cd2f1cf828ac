"""Measures the error rates of the regression gate by replaying its decision many times.

    python -m benchmarks.regression_rates build/regression/decision.json [DECISION...]
    python -m benchmarks.regression_rates --noise=bursts

A trial takes sets of processes that differ in nothing, decides as the gate does on training and
inference, and slows down B's training by multiplying its windows. Sets are drawn from decisions of
A against A, with the sides exchanged by a coin, or simulated window by window. Prints a Markdown
table: how often a regression was found, and nothing was decided, in percent.
"""

import json
import math
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from absl import flags
from jaxtyping import Float

from mlpf_jax import cli
from mlpf_jax.regress import pairing
from mlpf_jax.stats import sequential

_SLOWDOWNS = flags.DEFINE_multi_float(
    "slowdown", [0.0, 0.03, 0.05, 0.10, 0.15], "Slowdown of B's training, as a share."
)
_TRIALS = flags.DEFINE_integer("trials", 2000, "Number of decisions per slowdown.", lower_bound=1)
_MAX_PAIRS = flags.DEFINE_integer("max_pairs", 12, "Maximum number of sets.", lower_bound=2)
_ROUNDS = flags.DEFINE_integer("rounds", 32, "Simulated windows of each side in a set.")
_SIGMA = flags.DEFINE_float("sigma", 0.08, "Simulated noise of one window.")
_PROCESS = flags.DEFINE_float("process", 0.01, "Simulated noise of one process: all its windows.")
_SEED = flags.DEFINE_integer("seed", 0, "Random seed.")

_PHASES = ("training", "inference")
_NUM_SETS = 1000  # simulated
Sets = Float[np.ndarray, "phases sets"]  # the slowdown of each set without any difference


def normal(rng: np.random.Generator, shape: tuple[int, int]) -> np.ndarray:
    """Independent windows."""
    return rng.standard_normal(shape)


def drift(rng: np.random.Generator, shape: tuple[int, int]) -> np.ndarray:
    """Correlation of 0.9 between successive windows, and a drift by four sigma within a set."""
    noise = rng.standard_normal(shape)
    for i in range(1, shape[1]):
        noise[:, i] = 0.9 * noise[:, i - 1] + math.sqrt(0.19) * noise[:, i]
    return noise + np.linspace(0, 4, shape[1])


def heavy_tails(rng: np.random.Generator, shape: tuple[int, int]) -> np.ndarray:
    """Student's t with two degrees of freedom, which has no finite variance."""
    return rng.standard_t(2, shape)


def bursts(rng: np.random.Generator, shape: tuple[int, int]) -> np.ndarray:
    """Normal, but a quarter of all windows, ten in a row, take twice as long."""
    starts = rng.random(shape) < 0.028
    hit = sum(np.roll(starts, k, axis=1) for k in range(10)) > 0
    return rng.standard_normal(shape) + hit * math.log(2) / _SIGMA.value


NOISES: dict[str, Callable[[np.random.Generator, tuple[int, int]], np.ndarray]] = {
    "normal": normal,
    "drift": drift,
    "heavy_tails": heavy_tails,
    "bursts": bursts,
}
_NOISE = flags.DEFINE_enum("noise", "normal", list(NOISES), "Simulated, if no decision is given.")


def simulated(name: str, rng: np.random.Generator) -> Sets:
    """Returns simulated sets: of every round two neighbouring windows, in random order."""
    shape = (_NUM_SETS, 2 * _ROUNDS.value)

    def phase() -> np.ndarray:
        windows = _SIGMA.value * NOISES[name](rng, shape).reshape(_NUM_SETS, -1, 2)
        order = np.where(rng.random(windows.shape[:2]) < 0.5, 1, -1)
        medians = np.median(order * (windows[..., 1] - windows[..., 0]), axis=1)
        return medians + math.sqrt(2) * _PROCESS.value * rng.standard_normal(_NUM_SETS)

    return np.array([phase() for _ in _PHASES])


def recorded(decisions: Sequence[dict[str, Any]]) -> Sets:
    """Returns the sets of decisions of A against A.

    Raises:
        ValueError: if there are none.
    """
    sets = [one for decision in decisions for one in decision.get("windows", ()) if one]
    if not sets:
        raise ValueError("these decisions have no windows.")
    return np.array(
        [
            [np.median(np.log(np.array(one[phase]["B"]) / one[phase]["A"])) for one in sets]
            for phase in _PHASES
        ]
    )


def trial(sets: Sets, slowdown: float, rng: np.random.Generator) -> tuple[str, int]:
    """Returns one decision and its number of sets."""
    taken = rng.integers(sets.shape[1], size=_MAX_PAIRS.value)
    values = sets[:, taken] * rng.choice([-1, 1], size=_MAX_PAIRS.value)
    values[0] += math.log1p(slowdown)
    number, verdicts = 0, {"undecided"}
    while number < _MAX_PAIRS.value:
        number += pairing.PAIRS_PER_BLOCK
        found = [sequential.decide(one[:number].tolist(), sequential.Limits()) for one in values]
        verdicts = {one.verdict for one in found}
        if "regression" in verdicts or all(one.is_final for one in found):
            break
    for verdict in ("regression", "undecided"):
        if verdict in verdicts:
            return verdict, number
    return "no regression", number


def row(sets: Sets, slowdown: float) -> str:
    """Returns a line of the table."""
    rng = np.random.default_rng(_SEED.value)
    trials = [trial(sets, slowdown, rng) for _ in range(_TRIALS.value)]
    counts = Counter(verdict for verdict, _ in trials)
    found, open_ = (100 * counts[v] / len(trials) for v in ("regression", "undecided"))
    number = np.mean([number for _, number in trials])
    return f"| {100 * slowdown:g} % | {found:.2f} | {open_:.2f} | {number:.1f} |"


def main(argv: Sequence[str]) -> int:
    try:
        if len(argv) > 1:
            sets = recorded([json.loads(Path(name).read_text()) for name in argv[1:]])
            title = f"{sets.shape[1]} recorded sets"
        else:
            sets = simulated(_NOISE.value, np.random.default_rng(_SEED.value))
            title = f"simulated windows, {_NOISE.value}"
    except (OSError, ValueError) as error:
        return cli.complain(error, cli.USAGE)
    spreads = ", ".join(
        f"{phase} {100 * sequential.spread(one.tolist()):.1f} %"
        for phase, one in zip(_PHASES, sets, strict=True)
    )
    print(f"{title} (noise: {spreads}); {_TRIALS.value} trials, at most {_MAX_PAIRS.value} sets\n")
    print("| slowdown | regression, % | cannot decide, % | sets, mean |\n|---:|---:|---:|---:|")
    for slowdown in _SLOWDOWNS.value:
        print(row(sets, slowdown), flush=True)
    return 0


if __name__ == "__main__":
    cli.run(main, takes_files=True)
