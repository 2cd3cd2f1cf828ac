"""Measures the speed of reading events, and checks that memory use does not grow with their number.

    python -m benchmarks.reading_speed --data=data/ttbar --num_events=1000 --num_events=20000

A set smaller than asked for is repeated, by hard links in a temporary folder beside it that is
removed afterwards. Each size is read by a process of its own: all events in random order, elements
and targets copied into padded batches, as training does; once with the files in the page cache,
once (--cold) after asking the system to forget them. Anonymous memory is the process's own; mapped
pages of the files are shared with everybody and given back when memory runs short.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from absl import flags

from mlpf_jax import cli
from mlpf_jax.events import manifest as manifest_lib
from mlpf_jax.events import store, writing

_DATA = flags.DEFINE_string("data", None, "Folder of events.")
_NUM_EVENTS = flags.DEFINE_multi_integer("num_events", [1000, 20_000], "Number of events to read.")
_COLD = flags.DEFINE_bool("cold", False, "Also read with the files dropped from the page cache.")
_READ = flags.DEFINE_bool("read", False, "Internal: read --data in this process.")

_PADDED = 6400
_BATCH = 16


def repeat(source: Path, num_events: int, folder: Path) -> Path:
    """Returns a store of at least `num_events` events with links to the files of `source`."""
    manifest = store.open_store(source).manifest
    shards = []
    for number in range(-(-num_events // manifest.num_events) * len(manifest.shards)):
        shard = manifest.shards[number % len(manifest.shards)]
        name = f"shard-{number:05d}"
        (folder / name).mkdir()
        for file in shard.sha256:
            os.link(source / shard.name / file, folder / name / file)
        shards.append(
            manifest_lib.Shard(
                name=name,
                num_events=shard.num_events,
                num_elements=shard.num_elements,
                sha256=shard.sha256,
            )
        )
    repeated = manifest_lib.Manifest(provenance=manifest.provenance, shards=tuple(shards))
    writing.write_manifest(folder, repeated)
    return folder


def anonymous_mb() -> float:
    """Returns the process's anonymous resident memory in MB."""
    status = Path("/proc/self/status").read_text().split()
    return int(status[status.index("RssAnon:") + 1]) * 1024 / 1e6


def forget(folder: Path) -> None:
    """Asks the system to drop the files of `folder` from the page cache."""
    for path in folder.rglob("*.npy"):
        descriptor = os.open(path, os.O_RDONLY)
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(descriptor)


def read(folder: Path, num_events: int) -> dict[str, float]:
    """Reads events in random order into padded batches and returns time and memory."""
    started = time.perf_counter()
    events = store.open_store(folder)
    opened = time.perf_counter()
    elements = np.zeros((_BATCH, _PADDED, 12), np.float32)
    targets = np.zeros((_BATCH, _PADDED, 7), np.float32)
    before = peak = anonymous_mb()
    order = np.random.default_rng(0).permutation(num_events)
    for place, index in enumerate(order):
        event = events.event(int(index))
        kept = min(len(event.elements), _PADDED)
        elements[place % _BATCH, :kept] = event.elements[:kept]
        targets[place % _BATCH, :kept] = event.targets[:kept]
        if place % 100 == 0:
            peak = max(peak, anonymous_mb())
    seconds = time.perf_counter() - opened
    num_bytes = int(events.event_lengths[:num_events].sum()) * (12 + 7) * 4
    return {
        "num_events": num_events,
        "open_s": opened - started,
        "events_per_s": num_events / seconds,
        "gb_per_s": num_bytes / seconds / 1e9,
        "anonymous_mb_before": before,
        "anonymous_mb_peak": max(peak, anonymous_mb()),
    }


def measure(folder: Path, num_events: int) -> dict[str, float]:
    """Reads in a new process."""
    command = [sys.executable, "-m", "benchmarks.reading_speed", "--read", f"--data={folder}"]
    output = subprocess.check_output([*command, f"--num_events={num_events}"])
    return json.loads(output)


def main(argv: Sequence[str]) -> int:
    del argv  # has nothing left
    if _DATA.value is None:
        return cli.complain("name the events: --data=FOLDER.", cli.USAGE)
    data = Path(_DATA.value)
    if _READ.value:
        print(json.dumps(read(data, _NUM_EVENTS.value[0])))
        return 0
    for num_events in _NUM_EVENTS.value:
        with tempfile.TemporaryDirectory(dir=data.resolve().parent) as temporary:
            folder = repeat(data, num_events, Path(temporary))
            measure(folder, num_events)  # brings the files into the page cache
            print(json.dumps({"cache": "warm"} | measure(folder, num_events)), flush=True)
            if _COLD.value:
                forget(folder)
                print(json.dumps({"cache": "cold"} | measure(folder, num_events)), flush=True)
    return 0


if __name__ == "__main__":
    cli.run(main)
