"""Runs the contenders alternately, each time in a new process."""

import dataclasses
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from benchmarks.peers import contender, processes, worker


@dataclasses.dataclass(frozen=True, kw_only=True)
class Plan:
    """The runs to make."""

    names: tuple[str, ...]
    num_rounds: int
    num_samples: int
    shortest_sample_s: float
    num_threads: int
    device: contender.Device = "cpu"
    timeout_s: float  # of one process


@dataclasses.dataclass(frozen=True)
class Outcome:
    """The records of the processes, in order, and the reasons of failures."""

    runs: tuple[dict[str, Any], ...]
    failures: dict[str, str]


def run(plan: Plan, folder: Path, say: Callable[[str], None]) -> Outcome:
    """Runs every contender once a round, every second round in the opposite order.

    `folder` contains the workload and the compilers' caches, which are empty in the first round, as
    for a new user. A contender that fails is excluded from then on.
    """
    runs: list[dict[str, Any]] = []
    failures: dict[str, str] = {}
    variables = processes.surroundings(folder / "cache", plan.num_threads, plan.device)
    for number in range(plan.num_rounds):
        for name in plan.names if number % 2 == 0 else reversed(plan.names):
            if name in failures:
                continue
            say(f"round {number + 1}/{plan.num_rounds}: {name}")
            arguments = [json.dumps(dataclasses.asdict(_job(plan, name, folder)))]
            try:
                out = processes.run(
                    name, "benchmarks.peers.worker", arguments, variables, plan.timeout_s
                )
                runs.append({"round": number + 1} | json.loads(out.splitlines()[-1]))
            except RuntimeError as error:
                failures[name] = str(error)
                say(str(error))
    return Outcome(tuple(runs), failures)


def _job(plan: Plan, name: str, folder: Path) -> worker.Job:
    return worker.Job(
        name=name,
        folder=str(folder),
        num_threads=plan.num_threads,
        device=plan.device,
        num_samples=plan.num_samples,
        shortest_sample_s=plan.shortest_sample_s,
    )


def names_of(wanted: Sequence[str], all_names: Sequence[str], ours: str) -> tuple[str, ...]:
    """Returns the selected contenders in their fixed order, always including ours.

    Raises:
        ValueError: if one is unknown or has no environment.
    """
    for name in wanted:
        processes.interpreter(name)
    return tuple(name for name in all_names if name in {*wanted, ours})
