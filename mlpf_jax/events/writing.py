"""Writes events in the format of `store`: each shard atomically, the manifest last."""

import hashlib
import io
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np

from mlpf_jax import atomic
from mlpf_jax.events import manifest as manifest_lib
from mlpf_jax.events import store


@runtime_checkable
class EventLike(Protocol):
    """The protocol of events that can be written: the three arrays of an `Event`."""

    @property
    def elements(self) -> np.ndarray: ...
    @property
    def targets(self) -> np.ndarray: ...
    @property
    def candidates(self) -> np.ndarray: ...


def write_shard(
    folder: Path, name: str, events: Sequence[EventLike], provenance: manifest_lib.Provenance
) -> manifest_lib.Shard:
    """Writes `events` as the shard `name` of the store `folder` and returns its description.

    An existing shard of the same name and provenance is kept.

    Raises:
        ValueError: if the events do not have the shapes and dtypes of the format, or an existing
            shard has another provenance.
        OSError: if it cannot be written; the error names the shard.
    """
    arrays = _concatenate(events)
    folder.mkdir(parents=True, exist_ok=True)
    with atomic.naming(folder / name), atomic.new_folder(folder / name) as temporary:
        files = {f"{key}.npy": _npy(array) for key, array in arrays.items()}
        shard = manifest_lib.Shard(
            name=name,
            num_events=len(events),
            num_elements=len(arrays["elements"]),
            sha256={key: _sha256(chunks) for key, chunks in files.items()},
        )
        for key, chunks in files.items():
            atomic.write_synced(temporary / key, chunks)
        record = manifest_lib.encode_shard(shard, provenance)
        atomic.write_synced(temporary / manifest_lib.SHARD_RECORD, [record])
    return find_shard(folder, name, provenance)


def find_shard(folder: Path, name: str, provenance: manifest_lib.Provenance) -> manifest_lib.Shard:
    """Returns the shard `name` of the store `folder`, which needs no manifest.

    Raises:
        ValueError: if it is damaged, or has another provenance.
    """
    shard, found = manifest_lib.read_shard(folder / name)
    if difference := manifest_lib.difference(found, provenance):
        raise ValueError(
            f"{folder / name} has another origin: {difference}. Choose another folder, or remove "
            "this one."
        )
    return shard


def write_manifest(folder: Path, manifest: manifest_lib.Manifest) -> None:
    """Writes the manifest for shards in `folder`, which makes them a set of events."""
    atomic.write_file(folder / manifest_lib.NAME, manifest_lib.encode_manifest(manifest))


def write_store(
    folder: Path,
    events: Iterable[EventLike],
    provenance: manifest_lib.Provenance,
    *,
    shard_events: int = 50,
) -> store.EventStore:
    """Writes `events` as a new store in `folder`, with `shard_events` per shard, and opens it."""
    shards = [
        write_shard(folder, f"shard-{number:05d}", part, provenance)
        for number, part in enumerate(_parts(events, shard_events))
    ]
    folder.mkdir(parents=True, exist_ok=True)
    write_manifest(folder, manifest_lib.Manifest(provenance=provenance, shards=tuple(shards)))
    return store.open_store(folder)


def _parts(events: Iterable[EventLike], size: int) -> Iterator[list[EventLike]]:
    part: list[EventLike] = []
    for event in events:
        part.append(event)
        if len(part) == size:
            yield part
            part = []
    if part:
        yield part


def _concatenate(events: Sequence[EventLike]) -> dict[str, np.ndarray]:
    """Returns the four arrays of a shard.

    Raises:
        ValueError: if an event's arrays do not have the dtypes and shapes of the format.
    """
    for number, event in enumerate(events):
        for name, width in store.NUM_FEATURES.items():
            array = getattr(event, name)
            if array.dtype != np.float32 or array.shape != (len(event.elements), width):
                raise ValueError(
                    f"event {number} has {name} of {array.dtype} and shape {array.shape}, not "
                    f"float32 and ({len(event.elements)}, {width})."
                )
    if not events:
        raise ValueError("a shard needs at least one event.")
    lengths = [len(event.elements) for event in events]
    offsets = np.cumsum([0, *lengths], dtype=np.int64)
    return {"offsets": offsets} | {
        name: np.concatenate([getattr(event, name) for event in events])
        for name in store.NUM_FEATURES
    }


def _npy(array: np.ndarray) -> list[bytes]:
    """Returns the .npy file of `array` in two parts, header and data."""
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, np.lib.format.header_data_from_array_1_0(array))
    return [header.getvalue(), array.tobytes()]


def _sha256(chunks: Iterable[bytes]) -> str:
    digest = hashlib.sha256()
    for chunk in chunks:
        digest.update(chunk)
    return digest.hexdigest()
