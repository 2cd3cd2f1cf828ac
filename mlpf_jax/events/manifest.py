"""The metadata of an event set: manifest.json, and shard.json in each of its shards.

Module `store` reads and writes the arrays.
"""

import dataclasses
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

FORMAT = "mlpf_jax-events"
SCHEMA_VERSION = 1
NAME = "manifest.json"
SHARD_RECORD = "shard.json"
ARRAYS = ("offsets", "elements", "targets", "candidates")
KINDS = ("simulated", "imported")
_MOST_BYTES = 64 * 2**20  # of a manifest; a million events in shards of 50 take 12
_MOST_EVENTS = 2**25  # whose offsets are in memory; sparse files of offsets take no space on disk

_SAFE_NAME = re.compile(r"shard-[A-Za-z0-9-]{1,64}")
_SHA256 = re.compile(r"[0-9a-f]{64}")

Provenance = Mapping[str, Any]


class DamagedError(ValueError):
    """A set of events does not match its manifest."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Shard:
    """One folder of arrays: its name, its counts, and the SHA-256 of its files by name."""

    name: str
    num_events: int
    num_elements: int
    sha256: Mapping[str, str]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Manifest:
    """A set of events: its shards, in order, and their provenance.

    The provenance has at least a `kind`, "simulated" or "imported", and a `process`, as "ttbar".
    """

    provenance: Provenance
    shards: tuple[Shard, ...]

    @property
    def num_events(self) -> int:
        return sum(shard.num_events for shard in self.shards)

    @property
    def num_elements(self) -> int:
        return sum(shard.num_elements for shard in self.shards)


def encode_manifest(manifest: Manifest) -> bytes:
    """Returns the bytes of manifest.json, which are the same for equal values."""
    return _encode(
        {
            "format": FORMAT,
            "schema_version": SCHEMA_VERSION,
            "num_events": manifest.num_events,
            "num_elements": manifest.num_elements,
            "provenance": dict(manifest.provenance),
            "shards": [dataclasses.asdict(shard) for shard in manifest.shards],
        }
    )


def encode_shard(shard: Shard, provenance: Provenance) -> bytes:
    """Returns the bytes of shard.json: the shard's entry in the manifest, and its provenance."""
    return _encode({"provenance": dict(provenance), "shard": dataclasses.asdict(shard)})


def read_manifest(folder: Path) -> Manifest:
    """Reads `folder`/manifest.json.

    Raises:
        ValueError: if there is none, or it has another format or version.
        DamagedError: if its counts are inconsistent.
    """
    path = folder / NAME
    if not path.is_file():
        raise ValueError(
            f"{folder} has no {NAME}: it is not a set of events, or its creation was interrupted; "
            "repeat the command that makes it."
        )
    record = _decode(path)
    if record.get("format") != FORMAT:
        raise ValueError(f"{path} is not a manifest of events: its format is not {FORMAT!r}.")
    if record.get("schema_version") != SCHEMA_VERSION:
        raise ValueError(
            f"{path} has schema version {record.get('schema_version')!r}, but this program reads "
            f"{SCHEMA_VERSION}: make or import these events again."
        )
    shards = record.get("shards")
    if not (isinstance(shards, list) and shards):
        raise DamagedError(f"{path} lists no shards.")
    manifest = Manifest(
        provenance=_provenance(record, path), shards=tuple(_shard(item, path) for item in shards)
    )
    if len({shard.name for shard in manifest.shards}) != len(manifest.shards):
        raise DamagedError(f"{path} lists a shard twice.")
    if manifest.num_events > _MOST_EVENTS:
        raise ValueError(f"{path} lists more than {_MOST_EVENTS} events.")
    for name in ("num_events", "num_elements"):
        if record.get(name) != getattr(manifest, name):
            raise DamagedError(
                f"{path} has the wrong count: {name} is {record.get(name)!r}, the sum over its "
                f"shards is {getattr(manifest, name)}."
            )
    return manifest


def read_shard(folder: Path) -> tuple[Shard, Provenance]:
    """Reads the shard.json of the shard `folder`.

    Raises:
        DamagedError: if there is none, or it belongs to another folder.
    """
    path = folder / SHARD_RECORD
    if not path.is_file():
        raise DamagedError(f"{path} is missing: remove {folder} and repeat the command.")
    record = _decode(path)
    shard = _shard(record.get("shard"), path)
    if shard.name != folder.name:
        raise DamagedError(f"{path} belongs to another shard, {shard.name}: remove {folder}.")
    return shard, _provenance(record, path)


def difference(found: Provenance, wanted: Provenance) -> str:
    """Describes the differences between two provenances; "" if they are equal."""
    return " and ".join(
        f"{name} is {found.get(name)!r}, not {wanted.get(name)!r}"
        for name in sorted({*found, *wanted})
        if found.get(name) != wanted.get(name)
    )


def _encode(record: Mapping[str, Any]) -> bytes:
    return (json.dumps(record, indent=1, sort_keys=True, allow_nan=False) + "\n").encode()


def _decode(path: Path) -> dict[str, Any]:
    if path.stat().st_size > _MOST_BYTES:
        raise ValueError(f"{path} is larger than {_MOST_BYTES} bytes.")
    try:
        record = json.loads(path.read_bytes())
    except (ValueError, RecursionError):
        raise ValueError(f"{path} is not JSON.") from None
    if type(record) is not dict:
        raise ValueError(f"{path} is not a JSON object.")
    return record


def _provenance(record: Mapping[str, Any], path: Path) -> Provenance:
    provenance = record.get("provenance")
    if not (
        isinstance(provenance, dict)
        and provenance.get("kind") in KINDS
        and isinstance(provenance.get("process"), str)
    ):
        raise ValueError(f"{path} has no provenance of its events.")
    return provenance


def _shard(record: Any, path: Path) -> Shard:
    """Returns the shard that a JSON record describes, with a name that is safe as a path."""
    if not (
        isinstance(record, dict)
        and record.keys() == {"name", "num_events", "num_elements", "sha256"}
        and isinstance(record["name"], str)
        and _SAFE_NAME.fullmatch(record["name"])
        and all(type(record[count]) is int for count in ("num_events", "num_elements"))
        and record["num_events"] >= 1
        and record["num_elements"] >= 0
        and isinstance(record["sha256"], dict)
        and record["sha256"].keys() == {f"{name}.npy" for name in ARRAYS}
        and all(isinstance(h, str) and _SHA256.fullmatch(h) for h in record["sha256"].values())
    ):
        raise DamagedError(f"{path} has a damaged shard record.")
    return Shard(**record)
