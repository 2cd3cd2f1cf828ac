"""Takes pairs of runs, in the orders A B, B A or B A, A B, until a decision is possible.

Two new processes of a pair are alive together and run short windows in turns, so that a change of
the machine meets both alike. Where that cannot be, whole runs follow each other; a slow change of
the machine then cancels within four runs. The order is random, so that no periodic change of the
machine can favour one side.
"""

import contextlib
import dataclasses
import math
import random
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Literal

from mlpf_jax.measure import slot
from mlpf_jax.regress import costs, sources
from mlpf_jax.sides import driver

RUNS_PER_BLOCK, PAIRS_PER_BLOCK = 4, 2
_BLOCKS = ("AB", "BA"), ("BA", "AB")
Tell = Callable[[str], None]
Stopped = Literal["decided", "out of time", "out of pairs"]


@dataclasses.dataclass(frozen=True)
class Pair:
    """One run of each side, together or one right after the other."""

    a: costs.RunMeasures
    b: costs.RunMeasures
    turns: Mapping[str, driver.Turns] = dataclasses.field(default_factory=dict)  # by phase

    def slowdown(self, name: str) -> float:
        """Returns the logarithm of B's cost over A's: the median of neighbouring windows, if any.

        Raises:
            KeyError: if a side has no such cost.
        """
        if name in self.turns:
            return self.turns[name].slowdown("A", "B")
        return math.log(self.b.seconds[name] / self.a.seconds[name])


@dataclasses.dataclass(frozen=True)
class Gathered:
    """The pairs in order of time, and the reason why there are no more."""

    pairs: tuple[Pair, ...]
    stopped: Stopped
    block_s: tuple[float, ...] = ()  # how long every block of pairs took
    why_whole: str | None = None  # why whole runs were compared; None: windows in turns

    def pairs_in(self, budget_s: float) -> int:
        """Returns how many pairs like these a comparison with this budget takes."""
        later_s = statistics.median(self.block_s[1:] or self.block_s)
        blocks = 1 + max(0, math.floor((budget_s - self.block_s[0]) / later_s))
        return PAIRS_PER_BLOCK * blocks


@dataclasses.dataclass(frozen=True)
class Budget:
    """The limits of a comparison."""

    end_s: float  # clock time of the end
    most_pairs: int
    rounds: int = 32  # of windows in turns, for each phase of a pair


def gather(
    a: sources.Source,
    b: sources.Source,
    is_enough: Callable[[Sequence[Pair]], bool],
    budget: Budget,
    *,
    coins: random.Random,
    tell: Tell,
    clock: Callable[[], float] = time.monotonic,
) -> Gathered:
    """Returns pairs of runs until they are enough, or the runs or the time are used up.

    A block of four runs, except the first, is started only if it would end in time when as long as
    the last one. The first ones are longer, because they make events and compile.

    Raises:
        RunFailedError: if a run fails.
    """
    most_pairs = min(budget.most_pairs, *(s.most_runs or budget.most_pairs for s in (a, b)))
    pairs: list[Pair] = []
    block_s: list[float] = []
    taker = _Taker(a, b, budget.rounds, coins, tell)

    def stopped(why: Stopped) -> Gathered:
        return Gathered(tuple(pairs), why, tuple(block_s), taker.why_whole)

    while len(pairs) < most_pairs:
        if pairs and clock() + block_s[-1] > budget.end_s:
            return stopped("out of time")
        started = clock()
        for order in coins.choice(_BLOCKS)[: most_pairs - len(pairs)]:
            pairs.append(taker.take(order, f"pair {len(pairs) + 1}"))
        block_s.append(clock() - started)
        if is_enough(pairs):
            return stopped("decided")
    return stopped("out of pairs")


class _Taker:
    """Takes a pair after the other, in the same way."""

    def __init__(
        self, a: sources.Source, b: sources.Source, rounds: int, coins: random.Random, tell: Tell
    ):
        self._sides: dict[str, sources.Source] = {"A": a, "B": b}
        self._live = {n: s for n, s in self._sides.items() if isinstance(s, sources.Processes)}
        self._rounds, self._coins, self._tell = rounds, coins, tell
        self._needed_bytes: int | None = None  # by a side, as the last pair showed
        self.why_whole: str | None = a.why_whole or b.why_whole

    def take(self, order: str, name: str) -> Pair:
        """Takes a pair, of runs that are alive together if possible."""
        if self.why_whole is None:
            try:
                return self._together(order, name)
            except driver.NotTogetherError as error:
                self.why_whole = str(error)
                self._tell(f"whole runs from now on: {error}")
        stored, fresh = self._sides["A"], self._live.get("B")
        if isinstance(stored, sources.Stored) and fresh is not None:
            # A step from a cache runs differently from one that was just compiled.
            fresh.measures_compile = stored.next_measures_compile
        taken = {}
        for side in order:
            source = self._sides[side]
            taken[side] = source.take()
            self._tell(f"{name}, {side} ({source.label}): {taken[side]}")
        return Pair(taken["A"], taken["B"])

    def _together(self, order: str, name: str) -> Pair:
        runs: dict[str, costs.RunMeasures] = {}
        live: dict[str, driver.Live] = {}
        at_once = self._may_start_at_once()
        with contextlib.ExitStack() as stack:
            waits = {}
            for side in order:
                if live:
                    needed = max(one.memory_bytes for one in live.values())
                    driver.require_room(needed, slot.free_memory_bytes())
                waits[side] = stack.enter_context(self._live[side].starting())
                if not at_once:
                    runs[side], live[side] = waits.pop(side)()
            for side, wait in waits.items():
                runs[side], live[side] = wait()
            self._needed_bytes = max(one.memory_bytes for one in live.values())
            num_events = live["A"].events_per_step
            if num_events != live["B"].events_per_step:
                raise driver.NotTogetherError("their steps take different numbers of events")
            phases = [name for name in live["A"].phases if name in live["B"].phases]
            turns = {
                phase: driver.take_turns(live, phase, self._rounds, self._coins) for phase in phases
            }
        for side, run in runs.items():
            per_event = {phase: turn.seconds(side) / num_events for phase, turn in turns.items()}
            runs[side] = dataclasses.replace(run, seconds={**run.seconds, **per_event})
        pair = Pair(runs["A"], runs["B"], turns)
        told = (f"{phase} {math.exp(pair.slowdown(phase)):.3f}" for phase in turns)
        self._tell(f"{name}, B / A: {', '.join(told)}")
        return pair

    def _may_start_at_once(self) -> bool:
        """Whether the next runs compile nothing that is timed, and both find their memory."""
        free = slot.free_memory_bytes()
        if self._needed_bytes is None or free is None:
            return False
        compiles = any(one.measures_compile for one in self._live.values())
        return not compiles and driver.has_room(2 * self._needed_bytes, free)
