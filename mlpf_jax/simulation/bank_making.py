"""Makes a truth bank with Pythia. An interrupted run resumes from finished pieces.

The pieces are in a folder next to the bank until it is complete. A piece depends only on Pythia,
its settings, the seed and its position. The bank therefore has the same bytes after interruptions
and for any number of processes.
"""

import concurrent.futures
import concurrent.futures.process
import contextlib
import dataclasses
import fcntl
import functools
import io
import json
import multiprocessing
import os
import shutil
import signal
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mlpf_jax.simulation import bank, encoding, generator, npz, thinning

PIECE_EVENTS = 100  # a second of work
_RECORD = "pieces.json"

Progress = Callable[[int, int], None]  # collisions done, collisions wanted


@dataclasses.dataclass(frozen=True, kw_only=True)
class BankPlan:
    """The contents of a bank to make.

    `num_events` is the number of collisions kept per process. `generated_per_kept` is how many are
    generated for each kept one (see `thinning`). `seed` distinguishes banks of equal size.

    Raises:
        ValueError: if the values are out of range.
    """

    num_events: Mapping[str, int]
    generated_per_kept: int = 1
    seed: int = 1

    def __post_init__(self):
        for process, count in self.num_events.items():
            if process not in generator.PROCESSES:
                raise ValueError(
                    f"unknown process {process!r}: use {', '.join(generator.PROCESSES)}"
                )
            if not 1 <= count * self.generated_per_kept <= generator.MAX_EVENTS:
                raise ValueError(
                    f"{count} x {self.generated_per_kept} {process} collisions: the number must "
                    f"be 1 to {generator.MAX_EVENTS}"
                )
        if bank.PILEUP not in self.num_events or len(self.num_events) < 2:
            raise ValueError(f"a bank needs {bank.PILEUP} and at least one hard process")
        if not 0 <= self.seed <= generator.MAX_SEED:
            raise ValueError(f"the seed is {self.seed}: it must be 0 to {generator.MAX_SEED}")

    def provenance(self) -> dict[str, Any]:
        """Returns the provenance of the bank, which its file contains."""
        return _origin(self.seed) | {
            "num_events": dict(self.num_events),
            "generated_per_kept": self.generated_per_kept,
            "first_seeds": {p: generator.first_seed(p, self.seed) for p in self.num_events},
            "settings": {
                p: [*generator.SETTINGS, *generator.PROCESS_SETTINGS[p]] for p in self.num_events
            },
        }

    def pieces(self) -> "list[Piece]":
        """Cuts the collisions of all processes into pieces."""
        pieces = []
        for process, kept in self.num_events.items():
            total = kept * self.generated_per_kept
            for first in range(0, total, PIECE_EVENTS):
                count = min(PIECE_EVENTS, total - first)
                pieces.append(Piece(process=process, seed=self.seed, first=first, num_events=count))
        return pieces


@dataclasses.dataclass(frozen=True, kw_only=True)
class Piece:
    """Collisions `first` to `first + num_events - 1` of a process."""

    process: str
    seed: int
    first: int
    num_events: int

    @property
    def file_name(self) -> str:
        """The piece's file in the folder of pieces."""
        return f"{self.process}-{self.first:07d}-{self.num_events}.npz"


def make_bank(
    path: Path,
    plan: BankPlan,
    *,
    num_workers: int = 1,
    on_progress: Progress | None = None,
) -> bank.Bank:
    """Makes and returns the bank `path`, resuming an interrupted run.

    Raises:
        ValueError: if Pythia is not installed, or `path` or its pieces belong to another plan.
        OSError: if a file cannot be written, or Pythia or a worker failed.
    """
    provenance = plan.provenance()
    if path.exists():
        found = bank.load_bank(path)
        if found.provenance != provenance:
            raise ValueError(f"{path} is a different bank: choose another name, or remove it")
        return found
    folder = path.with_name(path.name + ".pieces")
    folder.mkdir(parents=True, exist_ok=True)
    with _alone_in(folder):
        _check_origin(folder, _origin(plan.seed))
        pieces = plan.pieces()
        _generate_missing(folder, pieces, num_workers, on_progress)
        kept = {
            process: _keep(folder, [p for p in pieces if p.process == process], num_kept)
            for process, num_kept in plan.num_events.items()
        }
        _write_whole(path, bank.file_content(kept, provenance))
        shutil.rmtree(folder)
    return bank.load_bank(path)


def _origin(seed: int) -> dict[str, Any]:
    """Returns everything that the pieces depend on, besides their position."""
    return {
        "generator": generator.version(),
        "settings_sha256": generator.settings_sha256(),
        "seed": seed,
    }


@contextlib.contextmanager
def _alone_in(folder: Path) -> Iterator[None]:
    """Prevents other processes from making the same bank, if the file system has locks."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(descriptor)
        raise OSError(f"another process is working in {folder}") from error
    except OSError:
        pass
    try:
        for leftover in folder.glob(".*"):
            leftover.unlink()
        yield
    finally:
        os.close(descriptor)


def _check_origin(folder: Path, origin: Mapping[str, Any]) -> None:
    """Records the origin of the pieces in a folder, or compares it with the recorded one."""
    record = folder / _RECORD
    expected = json.dumps(origin, sort_keys=True).encode()
    if not record.exists():
        _write_whole(record, expected)
    elif record.read_bytes() != expected:
        raise ValueError(f"{folder} has pieces of another bank or Pythia version: remove it")


def _generate_missing(
    folder: Path, pieces: Sequence[Piece], num_workers: int, on_progress: Progress | None
) -> None:
    missing = [p for p in pieces if not (folder / p.file_name).exists()]
    wanted = sum(p.num_events for p in pieces)
    done = wanted - sum(p.num_events for p in missing)
    work = _in_workers if min(num_workers, len(missing)) > 1 else _here
    for piece in work(folder, missing, num_workers):
        done += piece.num_events
        if on_progress:
            on_progress(done, wanted)


def _here(folder: Path, pieces: Sequence[Piece], _: int) -> Iterator[Piece]:
    """Generates pieces in this process and yields each after it is written."""
    for piece in pieces:
        yield _generate(folder, piece)


def _in_workers(folder: Path, pieces: Sequence[Piece], num_workers: int) -> Iterator[Piece]:
    """Generates pieces in worker processes and yields each after it is written.

    On every exit, pieces in progress are finished and all workers end.
    """
    executor = concurrent.futures.ProcessPoolExecutor(
        min(num_workers, len(pieces)),
        mp_context=multiprocessing.get_context("spawn"),
        initializer=_start_worker,
    )
    try:
        futures = [executor.submit(_generate, folder, piece) for piece in pieces]
        for future in concurrent.futures.as_completed(futures):
            yield future.result()
    except concurrent.futures.process.BrokenProcessPool as error:
        raise OSError("a worker died; repeat the command to resume") from error
    finally:
        executor.shutdown(cancel_futures=True)


def _start_worker() -> None:
    """Leaves Ctrl-C to the parent process, and ends this process if the parent is killed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    if parent is not None:

        def outlive_nobody() -> None:
            parent.join()
            os._exit(1)

        threading.Thread(target=outlive_nobody, daemon=True).start()


@functools.lru_cache(maxsize=1)  # pieces of one process follow each other, and Pythia is large
def _generator(process: str) -> generator.Generator:
    return generator.Generator(process)


def _generate(folder: Path, piece: Piece) -> Piece:
    """Generates a piece and writes it: its encoded collisions and their activity."""
    first = generator.first_seed(piece.process, piece.seed) + piece.first
    events = _generator(piece.process).generate(range(first, first + piece.num_events))
    buffer = io.BytesIO()
    columns = encoding.encode(events).columns
    np.savez_compressed(buffer, allow_pickle=False, activity=thinning.activity(events), **columns)
    _write_whole(folder / piece.file_name, buffer.getvalue())
    return piece


def _keep(folder: Path, pieces: Sequence[Piece], num_kept: int) -> encoding.EncodedEvents:
    """Returns the collisions of one process that the bank keeps."""
    activity = np.concatenate([_read(folder / p.file_name)["activity"] for p in pieces])
    kept = thinning.choose(activity, num_kept)
    parts = []
    for piece in pieces:
        last = piece.first + piece.num_events
        inside = kept[(kept >= piece.first) & (kept < last)] - piece.first
        parts.append(encoding.from_columns(_read(folder / piece.file_name)).take(inside))
    return encoding.concatenate(parts)


def _read(path: Path) -> dict[str, np.ndarray]:
    try:
        with path.open("rb") as file:
            return npz.read(file)
    except (OSError, ValueError) as error:
        path.unlink(missing_ok=True)
        raise OSError(f"{path} was damaged and has been removed: repeat the command") from error


def _write_whole(path: Path, content: bytes) -> None:
    """Writes a file atomically."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with temporary.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:  # of a full disk: without a name
        raise OSError(error.errno, error.strerror, str(path)) from None
    finally:
        temporary.unlink(missing_ok=True)
