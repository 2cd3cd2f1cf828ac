"""Runs sets of contenders that are alive together, until their order is known or time is over."""

import contextlib
import dataclasses
import json
import random
import re
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.peers import contender, processes, worker
from mlpf_jax import processes as processes_lib
from mlpf_jax.measure import slot
from mlpf_jax.sides import driver

Clock = Callable[[], float]  # seconds
_ROOM = 0.9  # of the free memory may be used by all contenders together
# The line of a traceback that names the error; PyTorch's compiler adds advice below it.
_ERROR = re.compile(r"[\w.]*(Error|Exception)\b")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Plan:
    """What to run."""

    names: tuple[str, ...]  # ours first
    num_threads: int
    device: contender.Device = "cpu"
    timeout_s: float  # of a start, and of a window
    budget_s: float  # no set is started that would end later
    most_sets: int
    num_rounds: int  # windows of each contender, phase and set


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What was run, in order."""

    starts: tuple[Mapping[str, Any], ...]  # what contenders said when they were ready
    sets: tuple[Sequence[Mapping[str, driver.Turns]], ...]  # for each group: phase -> windows
    failures: Mapping[str, str]  # by contender: how it ended, and its last lines
    groups: tuple[tuple[str, ...], ...]  # that were alive together


def groups_of(
    names: Sequence[str], needs: Mapping[str, int], free_bytes: int | None
) -> tuple[tuple[str, ...], ...]:
    """Returns which contenders are alive together: all, or the first beside one at a time."""
    if free_bytes is None or sum(needs[name] for name in names) <= _ROOM * free_bytes:
        return (tuple(names),)
    return tuple((names[0], name) for name in names[1:])


class _Runner:
    """Starts contenders, and keeps what they said."""

    def __init__(self, plan: Plan, folder: Path, say: Callable[[str], None]):
        self.starts: list[Mapping[str, Any]] = []
        self.failures: dict[str, str] = {}
        self.needs: dict[str, int] = {}
        self._plan, self._folder, self._say = plan, folder, say
        self._coins = random.Random()

    @property
    def names(self) -> list[str]:
        """The contenders that have not failed."""
        return [name for name in self._plan.names if name not in self.failures]

    def start(self, name: str, number: int, stack: contextlib.ExitStack) -> driver.Live:
        """Starts a contender, which stays alive until `stack` is closed."""
        self._say(f"set {number}: starting {name}")
        job = worker.Job(name, str(self._folder), self._plan.num_threads, self._plan.device)
        side = processes.side(
            name,
            [json.dumps(job._asdict())],
            processes.surroundings(
                self._folder / "cache", self._plan.num_threads, self._plan.device
            ),
            self._folder / f"{name}.txt",
            self._plan.timeout_s,
        )
        live = stack.enter_context(driver.starting(side))()
        self.starts.append({"set": number} | live.ready["start"])
        self.needs[name] = max(self.needs.get(name, 0), live.memory_bytes)
        return live

    def set(self, number: int, groups: Sequence[Sequence[str]]) -> list[dict[str, driver.Turns]]:
        """Takes the windows of a set of processes, group by group."""
        found = []
        for group in groups:
            with contextlib.ExitStack() as stack:
                live = {name: self.start(name, number, stack) for name in group}
                phases = live[group[0]].phases
                turns = {
                    phase: driver.take_turns(live, phase, self._plan.num_rounds, self._coins)
                    for phase in phases
                }
            found.append(turns)
        return found

    def leave_out(self, error: processes_lib.RunFailedError) -> None:
        """Notes a failure of the contender that the error names."""
        name = str(error).partition(": ")[0]
        self.failures[name] = "\n".join([str(error), *error.last_lines])
        self._say(self.failures[name])


def run(
    plan: Plan,
    folder: Path,
    say: Callable[[str], None],
    is_enough: Callable[[Outcome], bool],
    clock: Clock = time.monotonic,
) -> Outcome:
    """Starts sets of all contenders until it is enough; on a CPU, first each contender alone.

    The first starts find empty compilers' caches in `folder`, as a new user's. On a CPU they tell
    what memory each needs; a GPU's free memory is not asked for. A contender that dies, hangs or
    breaks the protocol is left out from then on, and the set is taken again without it.
    """
    runner, end_s = _Runner(plan, folder, say), clock() + plan.budget_s
    alone = plan.names if plan.device == "cpu" else ()
    for name in alone:
        try:
            with contextlib.ExitStack() as stack:
                runner.start(name, 0, stack)
        except processes_lib.RunFailedError as error:
            runner.leave_out(error)
    sets: list[Sequence[Mapping[str, driver.Turns]]] = []
    groups: tuple[tuple[str, ...], ...] = ()
    longest_s = 0.0

    def outcome() -> Outcome:
        return Outcome(tuple(runner.starts), tuple(sets), dict(runner.failures), groups)

    while len(runner.names) > 1 and plan.names[0] in runner.names:
        if len(sets) == plan.most_sets or (sets and clock() + longest_s > end_s):
            break
        free = slot.free_memory_bytes() if plan.device == "cpu" else None
        groups = groups_of(runner.names, runner.needs, free)
        started = clock()
        try:
            sets.append(runner.set(len(sets) + 1, groups))
        except processes_lib.RunFailedError as error:
            runner.leave_out(error)
            continue
        longest_s = max(longest_s, clock() - started)
        if is_enough(outcome()):
            break
    return outcome()


def cause(told: str) -> str:
    """Returns how a contender ended, and the line of its output that says why."""
    ending, *lines = told.splitlines()
    errors = [line for line in lines if _ERROR.match(line)]
    return ": ".join([ending.partition(": ")[2] or ending, *(errors or lines)[-1:]])


def names_of(wanted: Sequence[str], all_names: Sequence[str], ours: str) -> tuple[str, ...]:
    """Returns the selected contenders in their fixed order, always including ours.

    Raises:
        ValueError: if one is unknown or has no environment.
    """
    for name in wanted:
        processes.interpreter(name)
    return tuple(name for name in all_names if name in {*wanted, ours})
