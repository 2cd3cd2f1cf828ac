"""Measures the error rates of the regression gate by replaying its decision many times.

    python -m benchmarks.regression_rates benchmarks/baselines/*/NAME.json
    python -m benchmarks.regression_rates --noise=outliers --sigma=0.02

A trial takes runs that differ in nothing, four at a time, one after the other as they were
recorded; a coin makes them A B B A or B A A B. The first four compiled and the others did not, if
the baseline has such: so it is where both sides are the same programs. B's training is slowed down
by multiplying its cost. The gate then decides as it does in earnest. Noise is what a baseline
recorded, or simulated.
Prints a Markdown table: how often a regression was found, and nothing was decided, in percent.
"""

import dataclasses
import functools
import random
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from absl import flags

from mlpf_jax import cli
from mlpf_jax.regress import baseline, judging, pairing
from mlpf_jax.regress import costs as measures
from mlpf_jax.stats import sequential

_SLOWDOWNS = flags.DEFINE_multi_float(
    "slowdown", [0.0, 0.03, 0.05, 0.10, 0.15], "Slowdown of B's training, as a share."
)
_TRIALS = flags.DEFINE_integer("trials", 2000, "Number of decisions per slowdown.", lower_bound=1)
_MAX_PAIRS = flags.DEFINE_integer(
    "max_pairs", 20, "Maximum number of pairs of runs.", lower_bound=2
)
_SIGMA = flags.DEFINE_float("sigma", 0.02, "Standard deviation of a slowdown for simulated noise.")
_SEED = flags.DEFINE_integer("seed", 0, "Random seed.")

_NAMES = ("training", "inference", "compile")
_NUM_SIMULATED = 4000


@dataclasses.dataclass(frozen=True)
class Noise:
    """Equal runs, in order of time."""

    title: str
    runs: Sequence[measures.RunMeasures]
    rules: judging.Rules  # as in the real gate

    def block(self, coins: random.Random, *, compiles: bool) -> Sequence[measures.RunMeasures]:
        """Returns neighbouring runs of this kind, or of the other if there are none."""
        starts = self._starts[compiles] or self._starts[not compiles]
        start = coins.choice(starts)
        return self.runs[start : start + pairing.RUNS_PER_BLOCK]

    @functools.cached_property
    def _starts(self) -> dict[bool, list[int]]:
        """The possible starts of blocks, by whether their runs compile."""
        size = pairing.RUNS_PER_BLOCK
        found: dict[bool, list[int]] = {True: [], False: []}
        for start in range(len(self.runs) - size + 1):
            kinds = {run.measures_compile for run in self.runs[start : start + size]}
            if len(kinds) == 1:
                found[kinds.pop()].append(start)
        return found


def normal(rng: np.random.Generator, count: int) -> np.ndarray:
    """Independent runs."""
    return rng.standard_normal(count)


def autocorrelated(rng: np.random.Generator, count: int) -> np.ndarray:
    """Correlation of 0.6 between successive runs, and a drift of 0.1 sigma per run."""
    noise = rng.standard_normal(count)
    for i in range(1, count):
        noise[i] = 0.6 * noise[i - 1] + 0.8 * noise[i]
    return noise + 0.1 * (np.arange(count) % 40)


def heavy_tails(rng: np.random.Generator, count: int) -> np.ndarray:
    """Student's t with two degrees of freedom, which has no finite variance."""
    return rng.standard_t(2, count)


def outliers(rng: np.random.Generator, count: int) -> np.ndarray:
    """One run in fifty is a third slower than the others."""
    return rng.standard_normal(count) + (rng.random(count) < 0.02) * np.log(4 / 3) / _sigma()


NOISES: dict[str, Callable[[np.random.Generator, int], np.ndarray]] = {
    "normal": normal,
    "autocorrelated": autocorrelated,
    "heavy_tails": heavy_tails,
    "outliers": outliers,
}
_NOISE = flags.DEFINE_enum("noise", "normal", list(NOISES), "Simulated, if no baseline is given.")


def simulated(name: str, rng: np.random.Generator) -> Noise:
    """Returns runs for which slowdowns of pairs have a standard deviation of about --sigma."""
    costs = [np.exp(_sigma() * NOISES[name](rng, _NUM_SIMULATED)) for _ in _NAMES]
    title = f"{name} noise of {100 * _SIGMA.value:g} % in each of three measures"
    runs = [_simulated_run(dict(zip(_NAMES, run, strict=True))) for run in zip(*costs, strict=True)]
    # Simulated runs have only costs.
    return Noise(title, runs, judging.Rules(limits=sequential.Limits()))


def recorded(kept: baseline.Baseline) -> Noise:
    """Returns a baseline's runs.

    Raises:
        ValueError: if there are too few runs.
    """
    noises = ", ".join(f"{name} {100 * noise:.1f} %" for name, noise in kept.noises.items())
    compiling = sum(run.measures_compile for run in kept.runs)
    title = (
        f"{len(kept.runs)} runs recorded on {kept.machine_class}, {compiling} of them compiling "
        f"(noise of pairs: {noises})"
    )
    if len(kept.runs) < pairing.RUNS_PER_BLOCK:
        raise ValueError(
            f"baseline {kept.name}: {pairing.RUNS_PER_BLOCK} runs at least are needed."
        )
    rules = judging.Rules(
        limits=sequential.Limits(), recorded_noise=kept.noises, same_compiler=True
    )
    return Noise(title, kept.runs, rules)


def trial(noise: Noise, slowdown: float, coins: random.Random) -> tuple[judging.Whole, int]:
    """Returns one decision and its number of pairs."""
    pairs: list[pairing.Pair] = []
    found: tuple[judging.Judgement, ...] = ()
    while len(pairs) < _MAX_PAIRS.value:
        runs = noise.block(coins, compiles=not pairs)
        orders = [runs[:2], runs[3:1:-1]]  # A B, and of B A the A first
        if coins.random() < 0.5:
            orders = [order[::-1] for order in orders]
        pairs += [pairing.Pair(a, _slowed(b, slowdown)) for a, b in orders]
        found = judging.judge(pairs, noise.rules, {})
        if judging.is_enough(found):
            break
    return judging.whole(found), len(pairs)


def row(noise: Noise, slowdown: float) -> str:
    """Returns a line of the table."""
    coins = random.Random(_SEED.value)
    trials = [trial(noise, slowdown, coins) for _ in range(_TRIALS.value)]
    counts = Counter(verdict for verdict, _ in trials)
    found, open_ = (100 * counts[v] / len(trials) for v in ("regression", "cannot decide"))
    num_pairs = np.mean([number for _, number in trials])
    return f"| {100 * slowdown:g} % | {found:.2f} | {open_:.2f} | {num_pairs:.1f} |"


def main(argv: Sequence[str]) -> int:
    if len(argv) > 2:
        return cli.complain("give one baseline, or none for simulated noise.", cli.USAGE)
    try:
        if len(argv) == 2:
            noise = recorded(baseline.read(Path(argv[1])))
        else:
            noise = simulated(_NOISE.value, np.random.default_rng(_SEED.value))
    except (OSError, ValueError) as error:
        return cli.complain(error, cli.USAGE)
    print(f"{noise.title}; {_TRIALS.value} trials, at most {_MAX_PAIRS.value} pairs\n")
    print("| slowdown | regression, % | cannot decide, % | pairs, mean |\n|---:|---:|---:|---:|")
    for slowdown in _SLOWDOWNS.value:
        print(row(noise, slowdown), flush=True)
    return 0


def _sigma() -> float:
    """Standard deviation of single runs: a pair's slowdown is the difference of two."""
    return _SIGMA.value / np.sqrt(2)


def _simulated_run(seconds: dict[str, float]) -> measures.RunMeasures:
    return measures.RunMeasures(
        seconds=seconds,
        lower_s=0.0,
        memory_bytes={"training": 1},
        peak_process_bytes=None,
        accuracy=1.0,
        loss=1.0,
        digests={"losses": "", "weights": ""},
        machine_class="simulated",
        started_at="",
        finished_at="",
        doubts=(),
    )


def _slowed(run: measures.RunMeasures, slowdown: float) -> measures.RunMeasures:
    slower = {**run.seconds, "training": run.seconds["training"] * (1 + slowdown)}
    return dataclasses.replace(run, seconds=slower)


if __name__ == "__main__":
    cli.run(main, takes_files=True)
