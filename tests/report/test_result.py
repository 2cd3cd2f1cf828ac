"""A run tells every reason to distrust its scores."""

import dataclasses

import pytest

from mlpf_jax.measure import load, slot
from tests.report import made_up_result

PHASES = ("training", "inference")


def run(*, runtime=None, start=None, others=0.0):
    """A run on 16 cores, with this number of them used by others; None: unknown."""
    of_others = None if others is None else load.Load(others, 0.0)
    samples = [dataclasses.replace(one, load=of_others) for one in made_up_result.samples()]
    found = made_up_result.run(tuple(samples))
    environment = {
        **found.environment,
        "start": start or {},
        "runtime": found.environment["runtime"] | (runtime or {}),
    }
    anywhere = slot.Slot(allowed_cores=None, cpu_quota=None, control_groups="", memory_bytes=None)
    surroundings = dataclasses.replace(found.surroundings, slot=anywhere)
    return dataclasses.replace(found, environment=environment, surroundings=surroundings)


@pytest.mark.parametrize(
    ("parts", "words"),
    [
        ({}, []),
        ({"start": {"fallback": "a", "departure": "b"}}, ["a", "b"]),
        ({"runtime": {"xla_flags": "--xla_dump_to=x"}}, ["XLA_FLAGS --xla_dump_to=x: "]),
        ({"runtime": {"variables": {"NPROC": "2"}}}, ["NPROC=2: "]),
        ({"others": 7.9}, []),
        ({"others": 8.1}, [f"{phase}: other processes on 8.10 of 16 cores" for phase in PHASES]),
        (
            {"others": None},
            [f"{phase}: the load of other processes is unknown" for phase in PHASES],
        ),
    ],
)
def test_every_reason_is_told_once_for_what_it_concerns(parts, words):
    doubts = run(**parts).doubts

    assert len(doubts) == len(words)
    assert all(doubt.startswith(word) for doubt, word in zip(doubts, words, strict=True))
