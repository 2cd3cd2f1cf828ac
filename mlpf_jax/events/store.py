"""The format of events on disk: ragged float32 arrays in .npy files, sharded and hashed.

    DIR/manifest.json                 counts, provenance, the shards and their files' SHA-256
    DIR/shard-00000/offsets.npy       int64 (events + 1,): event i is rows offsets[i]:offsets[i + 1]
    DIR/shard-00000/elements.npy      float32 (rows, 12) DIR/shard-00000/targets.npy       float32
    (rows, 7) DIR/shard-00000/candidates.npy    float32 (rows, 7) DIR/shard-00000/shard.json
    this shard's entry in the manifest

Files are mapped into memory, and nothing is unpickled. Module `writing` creates such folders.
"""

import dataclasses
import functools
import hashlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float32, Int64

from mlpf_jax.events import manifest as manifest_lib
from mlpf_jax.simulation import npz

NUM_FEATURES = {"elements": 12, "targets": 7, "candidates": 7}

# The names of the arrays in the content digest, as in the published data set.
_DIGEST_NAMES = {"elements": "X", "targets": "ygen", "candidates": "ycand"}
_MOST_MAPPED = 16  # shards
_DTYPES = {"offsets": np.dtype("<i8")} | {name: np.dtype("<f4") for name in NUM_FEATURES}


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Event:
    """One collision: its detector elements and, row by row, the target of each.

    Columns as in the published data: elements (type, pt, eta, sin phi, cos phi, energy, six more by
    type), targets and candidates (class, charge, pt, eta, sin phi, cos phi, energy). Energies and
    momenta are in GeV. The candidates are from the rule-based reconstruction.
    """

    elements: Float32[np.ndarray, "elements 12"]
    targets: Float32[np.ndarray, "elements 7"]
    candidates: Float32[np.ndarray, "elements 7"]


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class EventStore:
    """A set of events on disk, mapped into memory. Open one with `open_store`."""

    path: Path
    manifest: manifest_lib.Manifest
    offsets: Int64[np.ndarray, " bounds"]  # of all events, starting at 0: num_events + 1 values
    arrays_of: Callable[[int], Mapping[str, np.ndarray]]  # of a shard, by name

    @property
    def num_events(self) -> int:
        return self.manifest.num_events

    @property
    def num_elements(self) -> int:
        return self.manifest.num_elements

    @property
    def num_bytes(self) -> int:
        """Size of the arrays in bytes, on disk and when read into memory."""
        row_bytes = sum(4 * width for width in NUM_FEATURES.values())
        return sum(
            8 * (shard.num_events + 1) + row_bytes * shard.num_elements
            for shard in self.manifest.shards
        )

    @property
    def provenance(self) -> manifest_lib.Provenance:
        return self.manifest.provenance

    @property
    def event_lengths(self) -> Int64[np.ndarray, " events"]:
        """Number of elements of each event."""
        return np.diff(self.offsets)

    def event(self, index: int) -> Event:
        """Returns event `index` as read-only views of the mapped files.

        Raises:
            IndexError: if there is no such event.
            DamagedError: if a file has changed since the store was opened.
        """
        if not 0 <= index < self.num_events:
            raise IndexError(f"no event {index}: {self.path} contains {self.num_events}.")
        number = int(np.searchsorted(self._first_events, index, side="right")) - 1
        shard_row = self.offsets[self._first_events[number]]
        rows = slice(*(self.offsets[index : index + 2] - shard_row).tolist())
        arrays = self.arrays_of(number)
        return Event(**{name: arrays[name][rows] for name in NUM_FEATURES})

    def digest(self, num_events: int | None = None) -> str:
        """Returns the SHA-256 of the content of the first `num_events` events (None: all).

        It covers the offsets and the three arrays, each concatenated over the shards, so it does
        not depend on the sharding. Memory use is constant.
        """
        num_events = self.num_events if num_events is None else num_events
        if not 0 <= num_events <= self.num_events:
            raise ValueError(f"{self.path} contains {self.num_events} events, not {num_events}.")
        offsets = self.offsets[: num_events + 1]
        num_rows = int(offsets[-1])
        digest = hashlib.sha256(f"offsets:<i8:{offsets.shape}".encode() + offsets.tobytes())
        for name, width in NUM_FEATURES.items():
            digest.update(f"{_DIGEST_NAMES[name]}:<f4:{(num_rows, width)}".encode())
            left = num_rows
            for number in range(len(self.manifest.shards)):
                rows = self.arrays_of(number)[name][:left]
                digest.update(_raw(rows))
                left -= len(rows)
        return digest.hexdigest()

    def verify(self) -> None:
        """Compares the SHA-256 of every file with the manifest.

        Raises:
            DamagedError: if a file differs; the message names the first and counts the others.
        """
        damaged = [
            path
            for shard in self.manifest.shards
            for name, sha256 in shard.sha256.items()
            if _file_sha256(path := self.path / shard.name / name) != sha256
        ]
        if damaged:
            more = f" (and {len(damaged) - 1} more files)" if len(damaged) > 1 else ""
            raise manifest_lib.DamagedError(
                f"{damaged[0]} is damaged{more}: its SHA-256 differs from the manifest's. Remove "
                f"{damaged[0].parent} and repeat the command that made {self.path}."
            )

    @functools.cached_property
    def _first_events(self) -> Int64[np.ndarray, " shards"]:
        """Number of the first event of each shard."""
        counts = [shard.num_events for shard in self.manifest.shards]
        return np.cumsum([0, *counts[:-1]], dtype=np.int64)


def open_store(path: Path) -> EventStore:
    """Opens the events of the folder `path` and checks the shape of every file.

    Raises:
        ValueError: if it is not a set of events, or has another version.
        DamagedError: if a file is missing, truncated or does not match the manifest; the message
            names it.
    """
    manifest = manifest_lib.read_manifest(path)
    arrays_of = _Shards(path, manifest.shards)
    bounds = [np.zeros(1, np.int64)]
    for number in range(len(manifest.shards)):
        bounds.append(bounds[-1][-1] + arrays_of(number)["offsets"][1:])
    return EventStore(
        path=path, manifest=manifest, offsets=np.concatenate(bounds), arrays_of=arrays_of
    )


class _Shards:
    """Maps shards on demand, and refuses files that have changed since they were first mapped.

    Reading a mapped file that was cut kills the process, and one that was overwritten gives other
    events. A file that was removed or replaced is still mapped as it was.
    """

    def __init__(self, path: Path, shards: Sequence[manifest_lib.Shard]):
        self._path, self._shards = path, shards
        self._states: dict[Path, tuple[int, int, int]] = {}
        # A mapped file is an open one, and there may be thousands: only the last few stay so.
        self._mapped = functools.lru_cache(_MOST_MAPPED)(self._map)

    def __call__(self, number: int) -> Mapping[str, np.ndarray]:
        arrays = self._mapped(number)
        for path in self._files(number):
            before, now = self._states[path], _state(path)
            if now is not None and now[0] == before[0] and now != before:
                raise _changed(path)
        return arrays

    def _map(self, number: int) -> Mapping[str, np.ndarray]:
        for path in self._files(number):
            if (now := _state(path)) is not None and self._states.setdefault(path, now) != now:
                raise _changed(path)
        shard = self._shards[number]
        return _map_shard(self._path / shard.name, shard)

    def _files(self, number: int) -> list[Path]:
        folder = self._path / self._shards[number].name
        return [folder / f"{name}.npy" for name in NUM_FEATURES]


def _state(path: Path) -> tuple[int, int, int] | None:
    """Returns what changes when a file is replaced, cut or written to; None without a file."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns


def _changed(path: Path) -> manifest_lib.DamagedError:
    return manifest_lib.DamagedError(
        f"{path} has changed since it was opened: events must stay as they are during a run."
    )


def _map_shard(folder: Path, shard: manifest_lib.Shard) -> dict[str, np.ndarray]:
    if not folder.is_dir():
        raise manifest_lib.DamagedError(
            f"{folder} is missing: repeat the command that made {folder.parent}."
        )
    shapes = {"offsets": (shard.num_events + 1,)} | {
        name: (shard.num_elements, width) for name, width in NUM_FEATURES.items()
    }
    arrays = {name: _map_array(folder / f"{name}.npy", shapes[name]) for name in shapes}
    offsets = arrays["offsets"]
    if offsets[0] != 0 or offsets[-1] != shard.num_elements or np.any(offsets[1:] < offsets[:-1]):
        raise manifest_lib.DamagedError(
            f"{folder / 'offsets.npy'} is damaged: its offsets are inconsistent."
        )
    return arrays


def _map_array(path: Path, shape: tuple[int, ...]) -> np.ndarray:
    """Maps a .npy file, which must contain an array of `shape` with the dtype for its name."""
    dtype = _DTYPES[path.stem]
    if not path.is_file():
        raise manifest_lib.DamagedError(f"{path} is missing.")
    try:
        array = npz.mapped(path)
    except ValueError as error:
        raise manifest_lib.DamagedError(f"{path} is not a complete .npy file: {error}") from None
    if array.dtype != dtype or array.shape != shape or not array.flags.c_contiguous:
        raise manifest_lib.DamagedError(
            f"{path} has the wrong count or type: {array.dtype} {array.shape}, by the manifest it "
            f"should be {dtype} {shape}."
        )
    if array.offset + array.nbytes != path.stat().st_size:
        raise manifest_lib.DamagedError(f"{path} is longer than its header says.")
    return np.asarray(array)


def _raw(array: np.ndarray) -> memoryview:
    """Returns the array's bytes without copying them."""
    return array.reshape(-1).view(np.uint8).data


def _file_sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
