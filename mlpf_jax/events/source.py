"""Finds the events of a run: in a folder of the user, or in a cache filled on demand.

Simulated events have the same bytes on every machine, so existing ones are reused and only missing
ones are simulated.
"""

import shutil
from collections.abc import Callable
from pathlib import Path

from mlpf_jax import atomic, cache
from mlpf_jax.events import manifest as manifest_lib
from mlpf_jax.events import store, workers, writing
from mlpf_jax.measure import slot
from mlpf_jax.simulation import bank as bank_lib

PROCESSES = ("ttbar", "qcd")
SHARD_EVENTS = 50  # about 26 MB, two seconds of work
_EVENT_BYTES = 535_000  # of ttbar, on average; of QCD 1 % less
SIMULATION_VERSION = 1  # increase when `simulation` gives other bytes; refuses older sets
_MANY = 10**7  # events whose shards are not even listed before there is space for them

Progress = Callable[[int, int], None]  # events done, events wanted
_WORKER_BYTES = 256 * 2**20  # 170 MiB on Linux x86_64, most of it the truth bank


def default_data_dir() -> Path:
    """Returns $XDG_CACHE_HOME/mlpf_jax/events, or ~/.cache/mlpf_jax/events by default.

    Raises:
        ValueError: if there is no home folder.
    """
    return cache.default_folder("events", "name a folder with --data_dir=")


def open_events(
    process: str,
    num_events: int,
    *,
    data_dir: Path,
    data_seed: int = 1,
    bank: Path | None = None,
    num_workers: int | None = None,
    on_progress: Progress | None = None,
) -> store.EventStore:
    """Returns at least `num_events` events of `process`, "ttbar" or "qcd".

    An existing set at `data_dir`/`process`, simulated or imported, is used as it is. Otherwise the
    events are simulated from `data_seed` and `bank` (None: the one in the package), and cached as
    whole shards in a separate folder in `data_dir`.

    Raises:
        ValueError: if the set at `data_dir`/`process` does not match the arguments, or is damaged.
        OSError: if events cannot be written.
    """
    if (data_dir / manifest_lib.NAME).is_file():
        raise ValueError(
            f"{data_dir} is itself a set of events: give its parent folder, in which it must be "
            f"named {process}."
        )
    given = data_dir / process
    if given.exists():
        return _open_given(given, process, num_events, data_seed, bank)
    loaded = bank_lib.load_bank(bank)
    return simulate_store(
        data_dir / f"{process}-seed{data_seed}-bank{loaded.sha256[:8]}",
        process,
        -(-num_events // SHARD_EVENTS) * SHARD_EVENTS,
        seed=data_seed,
        bank=bank,
        num_workers=num_workers,
        on_progress=on_progress,
    )


def simulate_store(
    folder: Path,
    process: str,
    num_events: int,
    *,
    seed: int,
    bank: Path | None = None,
    num_workers: int | None = None,
    on_progress: Progress | None = None,
) -> store.EventStore:
    """Returns the store `folder` with at least `num_events` events, simulating missing ones.

    After an interruption, another call completes the store. Its bytes do not depend on
    interruptions or on the number of processes. A folder with more events is left unchanged. If
    `num_workers` is None, there is one worker per available core, limited by the available memory.

    Raises:
        ValueError: if the folder contains events of another origin, or an argument is out of range.
        OSError: if events cannot be written.
    """
    _check(process, num_events, seed, num_workers)
    loaded = bank_lib.load_bank(bank)
    provenance = {
        "kind": "simulated",
        "process": process,
        "seed": seed,
        "bank_sha256": loaded.sha256,
        "generator": loaded.generator,
        "simulation_version": SIMULATION_VERSION,
    }
    folder.mkdir(parents=True, exist_ok=True)
    atomic.remove_leftovers(folder)
    if num_events > _MANY:
        _check_space(folder, num_events)
    tasks = plan_shards(max(num_events, _num_listed(folder, provenance)))
    missing = [task for task in tasks if not _is_there(folder, task, provenance)]
    if missing:
        _check_space(folder, sum(task.num_events for task in missing))
        bank_path = None if bank is None else str(bank)
        job = workers.Job(folder=str(folder), bank=bank_path, provenance=provenance)
        on_event = _counter(tasks, missing, on_progress)
        num_workers = min(num_workers or _default_workers(), len(missing))
        if num_workers == 1:
            workers.simulate_here(job, missing, loaded, on_event)
        else:
            workers.simulate_in_workers(job, missing, num_workers, on_event)
    _declare(folder, tasks, provenance)
    return store.open_store(folder)


def _default_workers() -> int:
    free = slot.free_memory_bytes()
    most = slot.num_cores() if free is None else free // _WORKER_BYTES
    return max(1, min(slot.num_cores(), most))


def plan_shards(num_events: int) -> list[workers.Task]:
    """Splits events 0 to `num_events` - 1 into shards. A shard's name determines its events."""
    tasks = []
    for first in range(0, num_events, SHARD_EVENTS):
        size = min(SHARD_EVENTS, num_events - first)
        short = "" if size == SHARD_EVENTS else f"-first-{size}"
        name = f"shard-{first // SHARD_EVENTS:05d}{short}"
        tasks.append(workers.Task(name=name, first=first, num_events=size))
    return tasks


def _open_given(
    path: Path, process: str, num_events: int, data_seed: int, bank: Path | None
) -> store.EventStore:
    """Opens a set of events that the user made, and checks it against the arguments."""
    events = store.open_store(path)
    origin = events.provenance
    if origin["process"] != process:
        raise ValueError(f"{path} contains {origin['process']} events, not {process}.")
    if origin["kind"] == "simulated":
        if origin.get("seed") != data_seed:
            raise ValueError(
                f"{path} contains events of seed {origin.get('seed')}, not {data_seed}: choose "
                "another data folder, or that seed."
            )
        if bank is not None and origin.get("bank_sha256") != bank_lib.load_bank(bank).sha256:
            raise ValueError(
                f"{path} was simulated from another bank than {bank}: choose another data folder."
            )
    if events.num_events < num_events:
        more = (
            f"make more with `python -m tools.make_dataset --process={process} "
            f"--events={num_events} --seed={data_seed} --out={path}`"
            if origin["kind"] == "simulated"
            else "import more"
        )
        raise ValueError(
            f"{path} contains {events.num_events} events, fewer than the requested {num_events}: "
            f"request fewer, or {more}."
        )
    return events


def _check(process: str, num_events: int, seed: int, num_workers: int | None) -> None:
    if process not in PROCESSES:
        raise ValueError(f"unknown process {process!r}: use one of {', '.join(PROCESSES)}.")
    for name, value, least in (("number of events", num_events, 1), ("seed", seed, 0)):
        if value < least:
            raise ValueError(f"the {name} is {value}: it must be at least {least}.")
    if num_workers is not None and num_workers < 1:
        raise ValueError(f"the number of workers is {num_workers}: it must be at least 1.")


def _num_listed(folder: Path, provenance: manifest_lib.Provenance) -> int:
    """Returns the number of events in the manifest of `folder`; 0 without a manifest.

    Raises:
        ValueError: if they have another origin.
    """
    if not (folder / manifest_lib.NAME).exists():
        return 0
    manifest = manifest_lib.read_manifest(folder)
    if difference := manifest_lib.difference(manifest.provenance, provenance):
        raise ValueError(
            f"{folder} contains events of another origin: {difference}. Choose another folder."
        )
    if manifest.num_events > SHARD_EVENTS * len(manifest.shards):
        raise manifest_lib.DamagedError(
            f"{folder / manifest_lib.NAME} lists more events than its shards can have: remove it."
        )
    return manifest.num_events


def _is_there(folder: Path, task: workers.Task, provenance: manifest_lib.Provenance) -> bool:
    path = folder / task.name
    return path.is_dir() and bool(writing.find_shard(folder, task.name, provenance))


def _counter(
    tasks: list[workers.Task], missing: list[workers.Task], on_progress: Progress | None
) -> Callable[[], None]:
    """Returns a function to call after every event."""
    wanted = sum(task.num_events for task in tasks)
    done = wanted - sum(task.num_events for task in missing)

    def on_event() -> None:
        nonlocal done
        done += 1
        if on_progress:
            on_progress(done, wanted)

    return on_event


def _check_space(folder: Path, num_events: int) -> None:
    """Raises OSError if the disk cannot take so many events."""
    needed, free = num_events * _EVENT_BYTES, shutil.disk_usage(folder).free
    if needed > free:
        raise OSError(
            f"{folder}: {num_events} events take {needed / 1e9:.2f} GB, and {free / 1e9:.2f} GB "
            "are free: make space, or choose another folder."
        )


def _declare(folder: Path, tasks: list[workers.Task], provenance: manifest_lib.Provenance) -> None:
    """Writes the manifest of the shards, unless another process wrote one with at least as many."""
    with atomic.locked(folder):
        if _num_listed(folder, provenance) >= sum(task.num_events for task in tasks):
            return
        shards = tuple(writing.find_shard(folder, task.name, provenance) for task in tasks)
        manifest = manifest_lib.Manifest(provenance=provenance, shards=shards)
        writing.write_manifest(folder, manifest)
