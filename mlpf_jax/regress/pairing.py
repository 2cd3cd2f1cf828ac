"""Runs two sides alternately, A B B A or B A A B, until a decision is possible.

A slow change of the machine cancels within four runs. The order of each four is random, so that no
periodic change of the machine can favour one side.
"""

import dataclasses
import random
from collections.abc import Callable, Sequence
from typing import Literal

from mlpf_jax.regress import costs as measures
from mlpf_jax.regress import sources

RUNS_PER_BLOCK, PAIRS_PER_BLOCK = 4, 2
Clock = Callable[[], float]  # seconds
Stopped = Literal["decided", "out of time", "out of pairs"]


@dataclasses.dataclass(frozen=True)
class Pair:
    """One run of each side, one right after the other."""

    a: measures.RunMeasures
    b: measures.RunMeasures


@dataclasses.dataclass(frozen=True)
class Gathered:
    """The pairs in order of time, and the reason why there are no more."""

    pairs: tuple[Pair, ...]
    stopped: Stopped


@dataclasses.dataclass(frozen=True)
class Budget:
    """The limits of a comparison."""

    end_s: float  # clock time of the end
    most_pairs: int


def gather(
    a: sources.Source,
    b: sources.Source,
    is_enough: Callable[[Sequence[Pair]], bool],
    budget: Budget,
    *,
    clock: Clock,
    coins: random.Random,
    tell: Callable[[str], None],
) -> Gathered:
    """Returns pairs of runs until they are enough, or the runs or the time are used up.

    A block of four runs, except the first, is started only if it would end in time when as long as
    the last one. The first ones are longer, because they make events and compile.

    Raises:
        RunFailedError: if a run fails.
    """
    most_pairs = min(budget.most_pairs, *(s.most_runs or budget.most_pairs for s in (a, b)))
    pairs: list[Pair] = []
    block_s = 0.0
    while len(pairs) < most_pairs:
        if pairs and clock() + block_s > budget.end_s:
            return Gathered(tuple(pairs), "out of time")
        started = clock()
        for order in _block(coins)[: most_pairs - len(pairs)]:
            pairs.append(_take(a, b, order, f"pair {len(pairs) + 1}", tell))
        block_s = clock() - started
        if is_enough(pairs):
            return Gathered(tuple(pairs), "decided")
    return Gathered(tuple(pairs), "out of pairs")


def costs(run: measures.RunMeasures) -> str:
    """Returns the costs of a run in one line."""
    return ", ".join(f"{name} {value:.4g} s" for name, value in run.seconds.items())


def _block(coins: random.Random) -> tuple[str, str]:
    return ("AB", "BA") if coins.random() < 0.5 else ("BA", "AB")


def _take(
    a: sources.Source, b: sources.Source, order: str, name: str, tell: Callable[[str], None]
) -> Pair:
    sources.make_alike(a, b)
    taken = {}
    for side in order:
        source = a if side == "A" else b
        taken[side] = source.take()
        tell(f"{name}, {side} ({source.label}): {costs(taken[side])}")
    return Pair(taken["A"], taken["B"])
