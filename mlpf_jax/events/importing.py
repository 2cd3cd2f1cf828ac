"""Imports public files as event sets, one per process, and compares them with the talk's set."""

import collections
import concurrent.futures
import contextlib
import dataclasses
import hashlib
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from mlpf_jax import atomic
from mlpf_jax.events import delphes, store, writing
from mlpf_jax.events import manifest as manifest_lib

PUBLISHED: Mapping[str, Any] = json.loads(
    Path(__file__).with_name("published_shards.json").read_text(encoding="utf-8")
)
TALK = "delphes_pf 1.0.1"


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Imported:
    """The result of an import: a set of events per process, and the problems of bad files."""

    stores: Mapping[str, store.EventStore]
    failures: tuple[str, ...]
    verdict: str  # one sentence: whether this is the set of the talk


def find_files(words: Sequence[str]) -> list[Path]:
    """Returns the given files, and the public files in given folders, in order.

    Raises:
        ValueError: if a path does not exist, or a folder has no such file.
    """
    found: list[Path] = []
    for path in map(Path, words):
        inside = [path]
        if path.is_dir():
            inside = [
                file
                for file in path.iterdir()
                if re.search(r"\.(pkl(\.bz2)?$|tfrecord|array_record)", file.name)
            ]
        for file in inside:
            if ".array_record" in file.name:
                raise ValueError(
                    f"{file}: array_record files cannot be read. Prepare the data set with "
                    "TFRecord files (tfds build --file_format=tfrecord)."
                )
        if not inside or not path.exists():
            raise ValueError(f"{path}: no event files found.")
        found.extend(sorted(inside, key=_natural))
    return list(dict.fromkeys(found))


def import_files(
    paths: Sequence[Path],
    out: Path,
    *,
    process: str | None = None,
    max_bytes: int = delphes.DEFAULT_MAX_BYTES,
    num_threads: int = 1,
    on_file: Callable[[Path], None] = lambda path: None,
) -> Imported:
    """Imports files into `out`/ttbar and `out`/qcd, each of which appears atomically at the end.

    Files that cannot be read are skipped and reported. `process` applies to all files; with None it
    is taken from their names.

    Raises:
        ValueError: if a set already exists or the process of a file is unknown; nothing is written
            then.
        OSError: if events cannot be written.
    """
    by_process: dict[str, list[Path]] = collections.defaultdict(list)
    for path in paths:
        by_process[process or delphes.process_of(path)].append(path)
    for name in by_process:
        if (out / name).exists():
            raise ValueError(f"{out / name} exists: remove it, or choose another folder.")
    out.mkdir(parents=True, exist_ok=True)
    atomic.remove_leftovers(out)
    stores: dict[str, store.EventStore] = {}
    failures: list[str] = []
    for name, files in by_process.items():
        read = _good_ones(_read_ahead(files, max_bytes, num_threads), failures, on_file)
        if _write_set(name, read, out / name):
            stores[name] = store.open_store(out / name)
    return Imported(stores=stores, failures=tuple(failures), verdict=_verdict(stores))


def published_set(sha256: str) -> str | None:
    """Returns the published set, such as "delphes_pf 1.0.1", that contains a file by SHA-256."""
    for name, published in PUBLISHED.items():
        if sha256 in _hashes(published):
            return name
    return None


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class _File:
    """A file that was read: its events, or the problem with it."""

    path: Path
    sha256: str = ""
    events: Sequence[store.Event] = ()
    failure: str = ""


def _read(path: Path, max_bytes: int) -> _File:
    try:
        events = delphes.read_events(path, max_bytes=max_bytes)
        with path.open("rb") as file:
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    except ValueError as error:
        return _File(path=path, failure=str(error))
    except OSError as error:
        return _File(path=path, failure=f"{path}: {error.strerror or error}.")
    return _File(path=path, sha256=sha256, events=events)


def _read_ahead(paths: Sequence[Path], max_bytes: int, num_threads: int) -> Iterator[_File]:
    """Yields the files in order and reads ahead in threads: decompression releases the GIL."""
    with concurrent.futures.ThreadPoolExecutor(num_threads) as pool:
        waiting: collections.deque[concurrent.futures.Future[_File]] = collections.deque()
        try:
            for path in paths:
                waiting.append(pool.submit(_read, path, max_bytes))
                if len(waiting) > num_threads:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            pool.shutdown(cancel_futures=True)


def _good_ones(
    files: Iterator[_File], failures: list[str], on_file: Callable[[Path], None]
) -> Iterator[_File]:
    """Yields the files that could be read, and records the problems of the others."""
    for file in files:
        on_file(file.path)
        if file.failure:
            failures.append(file.failure)
        else:
            yield file


def _write_set(process: str, files: Iterator[_File], target: Path) -> bool:
    """Writes the set of one process, one shard per file; returns False if no file was readable."""
    records, shards = [], []
    with contextlib.suppress(_NothingError), atomic.new_folder(target) as folder:
        for file in files:
            published = published_set(file.sha256)
            record = {"name": file.path.name, "sha256": file.sha256, "published": published}
            origin = {"kind": "imported", "process": process, "files": [record]}
            name = f"shard-{len(shards):05d}"
            shards.append(writing.write_shard(folder, name, file.events, origin))
            records.append(record)
        if not shards:
            raise _NothingError
        origin = {"kind": "imported", "process": process, "files": records}
        manifest = manifest_lib.Manifest(provenance=origin, shards=tuple(shards))
        writing.write_manifest(folder, manifest)
    if shards and manifest_lib.read_manifest(target).provenance.get("files") != records:
        raise ValueError(
            f"{target} was made by another process meanwhile: remove it, or choose another folder."
        )
    return bool(shards)


class _NothingError(Exception):
    """Raised if no file of a process could be read, so that no folder is created."""


def _verdict(stores: Mapping[str, store.EventStore]) -> str:
    files = [file for events in stores.values() for file in events.provenance["files"]]
    here = {file["sha256"] for file in files}
    wanted = _hashes(PUBLISHED[TALK])
    if len(files) == len(here) and here == wanted:
        return f"this is the set of the talk: all {len(wanted)} shards of {TALK}, as published."
    for name, published in PUBLISHED.items():
        if here == _hashes(published):
            return f"this is not the set of the talk: it is {name}, as published."
    return (
        f"this is not the set of the talk: of its {len(wanted)} shards ({TALK}), "
        f"{len(here & wanted)} are here as published, with {len(files) - len(here & wanted)} "
        "other files."
    )


def _hashes(published: Mapping[str, Any]) -> set[str]:
    return {shard["sha256"] for shard in published["shards"].values()}


def _natural(path: Path) -> list[tuple[str, int]]:
    """Sort key that places file 2 before file 10."""
    words = re.split(r"(\d+)", path.name)
    return [
        (text, int(digits or 0))
        for text, digits in zip(words[::2], [*words[1::2], ""], strict=True)
    ]
