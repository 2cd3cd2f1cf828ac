"""Kills runs at random times, resumes them, and compares their bits with an undisturbed run.

    python -m benchmarks.kills --count=1500 --json=FILE

A run of a tiny network is killed several times, by SIGKILL or SIGTERM, before it is left to end.
Each kill is aimed at a phase, at a random time after its start, and all phases get their share.
Most processes are forks of this one, which has imported everything (`forking`); some are fresh
ones, killed at any time. With a FILE that exists, the kills in it count. Exit status: 0 if all runs
end with the same digests, 1 if one does not, 2 for wrong usage.
"""

import dataclasses
import json
import os
import random
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from absl import flags

from benchmarks.kills import forking, killing
from mlpf_jax import cli, errors, keeping, processes

_COUNT = flags.DEFINE_integer("count", 20, "Number of kills.", lower_bound=1)
_PER_RUN = flags.DEFINE_integer("kills_per_run", 16, "Most kills of each run.", lower_bound=1)
_DEVICES = flags.DEFINE_integer("num_devices", 1, "Virtual devices of each run.", lower_bound=1)
_SEED = flags.DEFINE_integer("seed", 1, "Random seed of the times and signals.")
_JSON = flags.DEFINE_string("json", None, "File for every kill and run, to add to.")
_RUN = (
    *("--preset=smoke", "--num_id_layers=1", "--num_energy_layers=1", "--num_train_events=16"),
    *("--num_test_events=8", "--num_epochs=6", "--num_infer_samples=2", "--checkpoint_every=3"),
)


def main(argv: Sequence[str]) -> int:
    """Kills runs until enough kills were made, and prints a table."""
    del argv
    environ = {**os.environ, "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0"}
    os.environ.update(environ)
    try:
        outcomes = _read(Path(_JSON.value)) if _JSON.value else []
    except (OSError, ValueError, KeyError, TypeError) as error:
        return cli.complain(f"--json={_JSON.value}: {errors.one_line(error)}", cli.USAGE)
    arguments = (*_RUN, "--platform=cpu", f"--num_devices={_DEVICES.value}")
    with tempfile.TemporaryDirectory(prefix="mlpf-jax-kills-") as folder:
        plan = killing.Plan(
            arguments=arguments,
            folder=Path(folder),
            environ=environ,
            kills_per_run=_PER_RUN.value,
            nursery=forking.Nursery(_DEVICES.value),
        )
        try:
            plan, expected = killing.undisturbed(plan)
        except processes.RunFailedError as error:
            lines = " | ".join(error.last_lines[-2:])
            return cli.complain(f"the undisturbed run: {error} {lines}", cli.FAILURE)
        _kill(plan, expected, outcomes)
    return _tell(outcomes, expected)


def _read(path: Path) -> list[killing.Outcome]:
    """Returns the outcomes in a file; none if it does not exist."""
    if not path.exists():
        keeping.try_file(path)
        return []
    found = json.loads(path.read_text())["outcomes"]
    return [killing.outcome(one) for one in found]


def _kill(plan: killing.Plan, expected: Mapping[str, str], outcomes: list[killing.Outcome]) -> None:
    """Adds outcomes until there are enough kills, and writes them after every run."""
    from mlpf_jax.measure import environment

    num_kills = sum(len(outcome.kills) for outcome in outcomes)

    def say(kill: killing.Kill) -> None:
        nonlocal num_kills
        num_kills += 1
        print(f"{num_kills}: {kill.signal} in {kill.phase}", file=sys.stderr, flush=True)

    document = {"environment": environment.describe(), "arguments": plan.arguments}
    while num_kills < _COUNT.value:
        rng = random.Random(_SEED.value * 10**6 + len(outcomes))
        outcomes.append(killing.run(plan, rng, say))
        if _JSON.value:
            told = [dataclasses.asdict(outcome) for outcome in outcomes]
            content = json.dumps({**document, "expected": expected, "outcomes": told}, indent=1)
            keeping.write_file(Path(_JSON.value), (content + "\n").encode())


def _tell(outcomes: Sequence[killing.Outcome], expected: Mapping[str, str]) -> int:
    wrong = [outcome for outcome in outcomes if outcome.digests != expected]
    kills = [kill for outcome in outcomes for kill in outcome.kills]
    odd = [kill for kill in kills if kill.problem]
    print(killing.table(outcomes))
    print(
        f"{len(kills)} kills of {len(outcomes)} runs: {len(outcomes) - len(wrong)} ended with the "
        f"bits of the undisturbed run, {len(wrong)} did not; {len(odd)} kills left something wrong"
    )
    problems = [outcome.problem or "other bits" for outcome in wrong]
    problems += [f"{kill.signal} in {kill.phase}: {kill.problem}" for kill in odd]
    for problem in problems:
        cli.complain(problem, cli.FAILURE)
    return cli.FAILURE if problems else 0


if __name__ == "__main__":
    cli.run(main)
