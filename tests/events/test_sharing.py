"""Processes that share a folder of events: they take turns or repeat work, and mix nothing up."""

import contextlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

from mlpf_jax.events import manifest, store

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.slow

# Simulates events in shards of two, when it is told to; prints their digest.
_GENERATOR = """
import sys
from pathlib import Path
from mlpf_jax.events import source

source.SHARD_EVENTS = 2
print("ready", flush=True)
sys.stdin.readline()
folder, num_events = Path(sys.argv[1]), int(sys.argv[2])
events = source.simulate_store(folder, "qcd", num_events, seed=1, num_workers=1)
print(events.digest(4), flush=True)
"""


@contextlib.contextmanager
def generator(folder, num_events):
    """A process that waits to be told to simulate."""
    with subprocess.Popen(
        [sys.executable, "-c", _GENERATOR, str(folder), str(num_events)],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def tell(*processes):
    for process in processes:
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        process.stdin.write("go\n")
        process.stdin.flush()


def digest_of(process):
    said, problems = process.communicate()
    assert (process.returncode, problems) == (0, "")
    return said.strip()


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """Eight events that one process has made."""
    folder = tmp_path_factory.mktemp("alone") / "qcd"
    with generator(folder, 8) as process:
        tell(process)
        digest_of(process)
    return folder


def contents(folder):
    """All files but the manifest, whose hashes of shards are compared apart."""
    shards = manifest.read_manifest(folder).shards
    return shards, {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.name != manifest.NAME
    }


@pytest.mark.parametrize("numbers", [(8, 8), (4, 8)])
def test_two_generators_on_one_folder_make_what_one_makes(tmp_path, alone, numbers):
    folder = tmp_path / "qcd"
    with generator(folder, numbers[0]) as first, generator(folder, numbers[1]) as second:
        tell(first, second)
        digests = {digest_of(first), digest_of(second)}

    assert digests == {store.open_store(alone).digest(4)}
    assert contents(folder) == contents(alone)


def test_a_generator_that_is_killed_beside_another_leaves_it_alone(tmp_path, alone):
    folder = tmp_path / "qcd"
    with generator(folder, 8) as first, generator(folder, 8) as second:
        tell(first, second)
        while not list(folder.glob("shard-*")):
            assert second.poll() is None
        first.kill()
        digest_of(second)
    with generator(folder, 8) as third:  # removes what the dead one has left
        tell(third)
        digest_of(third)

    assert contents(folder) == contents(alone)


def test_a_reader_beside_a_writer_sees_whole_events_only(tmp_path, alone):
    folder = tmp_path / "qcd"
    with generator(folder, 4) as process:
        tell(process)
        digest = digest_of(process)
    seen = set()
    with generator(folder, 8) as writer:
        tell(writer)
        is_running = True
        while is_running:
            is_running = writer.poll() is None
            events = store.open_store(folder)
            events.verify()
            assert events.digest(4) == digest
            seen.add(events.num_events)
        digest_of(writer)

    assert seen == {4, 8}
    assert contents(folder) == contents(alone)
