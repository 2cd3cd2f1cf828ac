"""Kills runs at random times, resumes them, and compares their bits with an undisturbed run.

    python -m benchmarks.kills --count=1500 --json=FILE

Every run of the smoke preset simulates its events anew and is killed several times, by SIGKILL or
SIGTERM, before it is left to end. Exit status: 0 if all runs end with the same digests, 1 if one
does not, 2 for wrong usage.
"""

import concurrent.futures
import dataclasses
import json
import random
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from absl import flags

from benchmarks.kills import killing
from mlpf_jax import cli, errors, keeping, processes
from mlpf_jax.measure import environment

_COUNT = flags.DEFINE_integer("count", 20, "Number of kills.", lower_bound=1)
_PER_RUN = flags.DEFINE_integer("kills_per_run", 4, "Kills of each run.", lower_bound=1)
_DEVICES = flags.DEFINE_integer("num_devices", 1, "Virtual devices of each run.", lower_bound=1)
_SEED = flags.DEFINE_integer("seed", 1, "Random seed of the times and signals.")
_JOBS = flags.DEFINE_integer("jobs", 1, "Runs at the same time.", lower_bound=1)
_JSON = flags.DEFINE_string("json", None, "File for every kill and run.")
_EPOCHS = 8


def main(argv: Sequence[str]) -> int:
    """Kills runs until enough kills were made, and prints a table."""
    del argv
    try:
        if _JSON.value:
            keeping.try_file(Path(_JSON.value))
    except OSError as error:
        return cli.complain(error, cli.USAGE)
    with tempfile.TemporaryDirectory(prefix="mlpf-jax-kills-") as folder:
        try:
            plan, expected = _measure(Path(folder))
        except processes.RunFailedError as error:
            return cli.complain(f"the undisturbed run: {errors.one_line(error)}", cli.FAILURE)
        outcomes = _kill(plan)
    wrong = [outcome for outcome in outcomes if outcome.digests != expected]
    odd = [kill for outcome in outcomes for kill in outcome.kills if kill.problem]
    num_kills = sum(len(outcome.kills) for outcome in outcomes)
    print(killing.table(outcomes))
    print(
        f"{num_kills} kills of {len(outcomes)} runs: {len(outcomes) - len(wrong)} ended with the "
        f"bits of the undisturbed run, {len(wrong)} did not; {len(odd)} kills left something wrong"
    )
    if _JSON.value:
        document = {
            "environment": environment.describe(),
            "arguments": plan.arguments,
            "whole_s": plan.whole_s,
            "expected": expected,
            "outcomes": [dataclasses.asdict(outcome) for outcome in outcomes],
        }
        keeping.write_file(Path(_JSON.value), (json.dumps(document, indent=1) + "\n").encode())
    problems = [outcome.problem or "other bits" for outcome in wrong]
    problems += [f"{kill.signal} in {kill.phase}: {kill.problem}" for kill in odd]
    for problem in problems:
        cli.complain(problem, cli.FAILURE)
    return cli.FAILURE if problems else 0


def _measure(folder: Path) -> tuple[killing.Plan, dict[str, str]]:
    """Returns the plan and the digests of an undisturbed run; the first run fills the cache."""
    plan = killing.Plan(
        arguments=(
            *("--preset=smoke", "--checkpoint_every=10", f"--num_epochs={_EPOCHS}"),
            *(f"--num_devices={_DEVICES.value}", "--platform=cpu"),
        ),
        folder=folder,
        whole_s=0.0,
        kills_per_run=_PER_RUN.value,
    )
    killing.undisturbed(plan)
    start = time.monotonic()
    expected = killing.undisturbed(plan)
    seconds = time.monotonic() - start
    return dataclasses.replace(plan, whole_s=1.2 * seconds), dict(expected)


def _kill(plan: killing.Plan) -> list[killing.Outcome]:
    done: list[killing.Kill] = []

    def say(kill: killing.Kill) -> None:
        done.append(kill)
        print(f"{len(done)}: {kill.signal} in {kill.phase}", file=sys.stderr, flush=True)

    outcomes = []
    seeds = iter(range(_SEED.value * 10**6, 2**63))
    with concurrent.futures.ThreadPoolExecutor(_JOBS.value) as pool:
        running = set()
        while True:
            while len(done) < _COUNT.value and len(running) < _JOBS.value:
                rng = random.Random(next(seeds))
                running.add(pool.submit(killing.run, plan, rng, say))
            if not running:
                return outcomes
            ended, running = concurrent.futures.wait(
                running, return_when=concurrent.futures.FIRST_COMPLETED
            )
            outcomes += [future.result() for future in ended]


if __name__ == "__main__":
    cli.run(main)
