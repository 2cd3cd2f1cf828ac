"""Makes files in the exact formats of the public ones, from given events."""

import bz2
import json
import pickle
import struct
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from mlpf_jax.events import store, tfrecord

PADDED_ROWS = 6400
NAMES = {"X": "elements", "ygen": "targets", "ycand": "candidates"}


def columns(events: Sequence[store.Event]) -> dict[str, list[np.ndarray]]:
    """The content of a published pickle: lists of float64 arrays."""
    return {
        public: [getattr(event, ours).astype(np.float64) for event in events]
        for public, ours in NAMES.items()
    }


def write_pickle(path: Path, events: Sequence[store.Event], *, protocol: int = 4) -> Path:
    """Writes events as in Zenodo 4559324; packed, if the name says so."""
    content = pickle.dumps(columns(events), protocol=protocol)
    path.write_bytes(bz2.compress(content) if path.suffix == ".bz2" else content)
    return path


def frame(content: bytes) -> bytes:
    """One record of a TFRecord file."""
    length = struct.pack("<Q", len(content))
    checksums = [struct.pack("<I", tfrecord.masked_crc(part)) for part in (length, content)]
    return length + checksums[0] + content + checksums[1]


def example(arrays: dict[str, np.ndarray]) -> bytes:
    """A serialised tf.train.Example: every array flat, as the data set tools store tensors."""
    message = tfrecord.Example()
    for name, array in arrays.items():
        message.features.feature[name].float_list.value.extend(array.ravel())
    return message.SerializeToString(deterministic=True)


def padded(event: store.Event) -> dict[str, np.ndarray]:
    """The arrays of delphes_pf 1.0.1."""
    arrays = {public: getattr(event, ours)[:PADDED_ROWS] for public, ours in NAMES.items()}
    return {
        name: np.pad(array, [(0, PADDED_ROWS - len(array)), (0, 0)])
        for name, array in arrays.items()
    }


def ragged(event: store.Event) -> dict[str, np.ndarray]:
    """The arrays of delphes_pf 1.1.0: targets and candidates have the number of a jet, too."""
    jet = np.arange(len(event.elements), dtype=np.float32)[:, None] % 9
    return {
        "X": event.elements,
        "ygen": np.concatenate([event.targets, jet], axis=1),
        "ycand": np.concatenate([event.candidates, jet], axis=1),
    }


def write_tfds(
    folder: Path, version: str, splits: dict[str, list[list[store.Event]]]
) -> list[Path]:
    """Writes a folder delphes_pf/VERSION: a list of shards per split, and the JSON next to them."""
    folder = folder / "delphes_pf" / version
    folder.mkdir(parents=True)
    arrays_of, rows, width = {"1.0.1": (padded, 6400, 7), "1.1.0": (ragged, -1, 8)}[version]
    paths = []
    for split, shards in splits.items():
        for number, events in enumerate(shards):
            name = f"delphes_pf-{split}.tfrecord-{number:05d}-of-{len(shards):05d}"
            records = [frame(example(arrays_of(event))) for event in events]
            (folder / name).write_bytes(b"".join(records))
            paths.append(folder / name)
    info = {
        "fileFormat": "tfrecord",
        "moduleName": "delphes_pf",
        "name": "delphes_pf",
        "splits": [
            {"name": split, "shardLengths": [str(len(events)) for events in shards]}
            for split, shards in splits.items()
        ],
        "version": version,
    }
    tensor = {"dtype": "float32", "encoding": "none"}
    features = {
        name: tensor | {"shape": {"dimensions": [str(rows), str(columns)]}}
        for name, columns in (("X", 12), ("ycand", width), ("ygen", width))
    }
    (folder / "dataset_info.json").write_text(json.dumps(info, indent=2))
    (folder / "features.json").write_text(json.dumps({"featuresDict": {"features": features}}))
    return paths
