"""Reads the public Delphes files. All files are treated as untrusted input.

Zenodo 4559324: pickles of 100 events, plain or compressed with bz2. TensorFlow data set
`delphes_pf`: TFRecord shards, with events padded to 6400 rows (1.0.1) or ragged (1.1.0).
"""

import bz2
import io
import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from mlpf_jax.events import pickles, schema, store

DEFAULT_MAX_BYTES = 2**29  # of an uncompressed file: five times the size of the published ones
_MOST_INFO_BYTES = 2**24  # of a dataset_info.json; a thousand shards take 0.01 MB

_PICKLE = re.compile(r"tev14_pythia8_(ttbar|qcd)_")
_SHARD = re.compile(r"delphes_pf-(train|test)\.tfrecord-(\d{5})-of-\d{5}")
_PROCESS_OF_SPLIT = {"train": "ttbar", "test": "qcd"}
_ARRAYS = tuple(schema.COLUMNS)


def process_of(path: Path) -> str:
    """Returns the process, "ttbar" or "qcd", from the name of a public file.

    Raises:
        ValueError: if the name contains neither.
    """
    if match := _PICKLE.match(path.name):
        return match[1]
    if match := _SHARD.fullmatch(path.name):
        return _PROCESS_OF_SPLIT[match[1]]
    raise ValueError(f"{path}: its name does not tell the process: say --process=ttbar or qcd.")


def read_events(path: Path, *, max_bytes: int = DEFAULT_MAX_BYTES) -> list[store.Event]:
    """Returns the events of a public file. Its name and first bytes tell the format.

    Raises:
        ValueError: if the file is invalid. The message is one line with the file and the event, if
            one is at fault.
        OSError: if the file cannot be read.
    """
    try:
        with path.open("rb") as file:
            events = _make_events(_read_arrays(path, file, max_bytes), max_bytes)
        _check_number(path, len(events))
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None
    return events


def _read_arrays(
    path: Path, file: io.BufferedIOBase, max_bytes: int
) -> Iterator[Mapping[str, Any]]:
    """Yields X, ygen and ycand of each event."""
    start = file.read(3)
    file.seek(0)
    if not start:
        raise ValueError("it is empty.")
    if ".tfrecord" in path.name:
        yield from _read_tfrecord(file)
    elif start == b"BZh":
        with bz2.BZ2File(file) as unpacked:
            yield from _read_pickle(unpacked, max_bytes)
    else:
        yield from _read_pickle(file, max_bytes)


def _make_events(arrays: Iterator[Mapping[str, Any]], max_bytes: int) -> list[store.Event]:
    events, num_bytes = [], 0
    for number, columns in enumerate(arrays):
        try:
            event = schema.make_event(columns)
        except ValueError as error:
            raise ValueError(f"event {number}: {error}") from None
        events.append(event)
        num_bytes += 4 * len(columns["X"]) * sum(store.NUM_FEATURES.values())
        if num_bytes > max_bytes:  # a pickle can repeat an array with a few bytes
            raise ValueError(f"event {number}: the events up to here exceed {max_bytes} bytes.")
    return events


def _read_pickle(file: io.BufferedIOBase, max_bytes: int) -> Iterator[Mapping[str, Any]]:
    try:
        content = pickles.load(file, max_bytes=max_bytes)
    except ValueError as error:
        raise ValueError(f"it {error}") from None
    except OSError as error:
        if error.errno is not None:
            raise
        # Without an errno, this is how bz2 reports damage.
        raise ValueError(f"it is not a complete bz2 file: {error}.") from None
    if type(content) is not dict or not all(type(content.get(name)) is list for name in _ARRAYS):
        raise ValueError(f"it does not contain the lists {', '.join(_ARRAYS)}.")
    lengths = {name: len(content[name]) for name in _ARRAYS}
    if len(set(lengths.values())) > 1:
        raise ValueError(f"its lists differ in length: {lengths}.")
    for number in range(lengths["X"]):
        yield {name: content[name][number] for name in _ARRAYS}


def _read_tfrecord(file: io.BufferedIOBase) -> Iterator[Mapping[str, Any]]:
    try:
        from mlpf_jax.events import tfrecord
    except ImportError as error:
        raise ValueError(
            f"reading TFRecord files needs {error.name}: pip install 'mlpf_jax[import]'."
        ) from None
    most = 4 * schema.MAX_ROWS * sum(map(max, schema.COLUMNS.values())) + 2**10
    for number, record in enumerate(tfrecord.read_records(file, max_bytes=most)):
        try:
            lists = tfrecord.parse_example(record, _ARRAYS)
        except ValueError as error:
            raise ValueError(f"event {number}: {error}") from None
        rows = len(lists["X"]) // schema.COLUMNS["X"][0]  # the lists are flat: X gives the rows
        yield {
            name: values.reshape(rows, -1) if rows and len(values) % rows == 0 else values
            for name, values in lists.items()
        }


def _check_number(path: Path, num_events: int) -> None:
    """Checks that no events are missing, because a file can be cut between two records.

    The expected number is in the dataset_info.json next to the shard.
    """
    if not num_events:
        raise ValueError("it contains no events.")
    info, match = path.with_name("dataset_info.json"), _SHARD.fullmatch(path.name)
    if not (match and info.is_file()):
        return
    with info.open("rb") as file:
        content = file.read(_MOST_INFO_BYTES)
    try:
        splits = {split["name"]: split for split in json.loads(content)["splits"]}
        told = int(splits[match[1]]["shardLengths"][int(match[2])])
    except (ValueError, TypeError, LookupError, OverflowError, RecursionError):
        raise ValueError(
            f"{info.name} in the same folder does not give its number of events."
        ) from None
    if told != num_events:
        raise ValueError(f"it contains {num_events} events, but {info.name} lists {told}.")
