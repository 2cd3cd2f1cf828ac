"""Reads TFRecord files of `tf.train.Example`, without TensorFlow.

Needs the extra `import` (google-crc32c, protobuf).
"""

import io
import struct
from collections.abc import Iterator
from typing import Any

import google_crc32c
import numpy as np
from google.protobuf import descriptor_pb2, descriptor_pool, message, message_factory
from jaxtyping import Float32

_FIELD = descriptor_pb2.FieldDescriptorProto
_CRC_MASK = 0xA282EAD8


def read_records(stream: io.BufferedIOBase, *, max_bytes: int) -> Iterator[bytes]:
    """Yields the records of a file: length, its checksum, content, its checksum.

    Raises:
        ValueError: if the file is truncated, a checksum is wrong, or a record exceeds `max_bytes`.
            The message gives the number of the record.

    Source: TensorFlow's documentation of the TFRecords format.
    """
    number = 0
    while header := stream.read(12):
        where = f"event {number}"
        length = _checked(header, 8, f"{where}: the length of its record")
        (size,) = struct.unpack("<Q", length)
        if size > max_bytes:
            raise ValueError(
                f"{where}: its record has {size} bytes, more than the limit of {max_bytes}."
            )
        yield _checked(stream.read(size + 4), size, f"{where}: its record")
        number += 1


def _checked(content: bytes, size: int, what: str) -> bytes:
    """Returns the first `size` bytes after comparing them with the masked CRC32C that follows."""
    if len(content) < size + 4:
        raise ValueError(f"{what} is truncated.")
    body, checksum = content[:size], int.from_bytes(content[size:], "little")
    if checksum != masked_crc(body):
        raise ValueError(f"{what} is damaged: its checksum is wrong.")
    return body


def masked_crc(content: bytes) -> int:
    """Returns the CRC32C of `content`, rotated and shifted as TFRecord files store it."""
    crc = google_crc32c.value(content)
    return (((crc >> 15) | (crc << 17)) + _CRC_MASK) & 0xFFFFFFFF


def parse_example(record: bytes, names: tuple[str, ...]) -> dict[str, Float32[np.ndarray, " n"]]:
    """Returns the named features of a `tf.train.Example`: lists of float32.

    Raises:
        ValueError: if it is not an example, or a feature is missing.
    """
    try:
        features = Example.FromString(record).features.feature
    except message.DecodeError:
        raise ValueError("its record is not a tf.train.Example.") from None
    found = {}
    for name in names:
        if name not in features or features[name].WhichOneof("kind") != "float_list":
            raise ValueError(f"it has no list of numbers {name!r}.")
        values = features[name].float_list.value
        found[name] = np.fromiter(values, np.float32, len(values))
    return found


def _make_example_class() -> Any:
    """Returns a message class for the required part of example.proto and feature.proto.

    Field numbers are the contract. Source: tensorflow/core/example/{example,feature}.proto.
    """
    file = descriptor_pb2.FileDescriptorProto(
        name="mlpf_jax/example.proto", package="mlpf_jax.tfrecord", syntax="proto3"
    )
    _add_message(file, "FloatList", ("value", 1, "TYPE_FLOAT", "LABEL_REPEATED"))
    feature = _add_message(file, "Feature", ("float_list", 2, "FloatList", "LABEL_OPTIONAL"))
    feature.oneof_decl.add(name="kind")
    feature.field[0].oneof_index = 0
    features = _add_message(
        file, "Features", ("feature", 1, "Features.FeatureEntry", "LABEL_REPEATED")
    )
    entry = features.nested_type.add(name="FeatureEntry")
    entry.options.map_entry = True
    _add_field(entry, "key", 1, "TYPE_STRING", "LABEL_OPTIONAL")
    _add_field(entry, "value", 2, "Feature", "LABEL_OPTIONAL")
    _add_message(file, "Example", ("features", 1, "Features", "LABEL_OPTIONAL"))
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("mlpf_jax.tfrecord.Example"))


def _add_message(file: Any, name: str, field: tuple[str, int, str, str]) -> Any:
    added = file.message_type.add(name=name)
    _add_field(added, *field)
    return added


def _add_field(owner: Any, name: str, number: int, kind: str, label: str) -> None:
    field = owner.field.add(name=name, number=number, label=_FIELD.Label.Value(label))
    if kind.startswith("TYPE_"):
        field.type = _FIELD.Type.Value(kind)
    else:
        field.type = _FIELD.TYPE_MESSAGE
        field.type_name = f".mlpf_jax.tfrecord.{kind}"


Example = _make_example_class()
