"""Records are read back completely, and any damage is found."""

import io
import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("google_crc32c")

from mlpf_jax.events import tfrecord
from tests import public_files

LIMIT = 1000


def read(content):
    return list(tfrecord.read_records(io.BytesIO(content), max_bytes=LIMIT))


def refusal(content):
    """Returns the error message for a file that cannot be read."""
    try:
        read(content)
    except ValueError as error:
        return str(error)
    return ""


def test_a_checksum_is_as_published():
    """The file format's documentation gives the mask, RFC 3720 the CRC32C of 32 zero bytes."""
    crc = 0x8A9136AA
    masked = (((crc >> 15) | (crc << 17)) + 0xA282EAD8) % 2**32

    assert tfrecord.masked_crc(bytes(32)) == masked


@given(records=st.lists(st.binary(max_size=99)))
def test_records_come_back(records):
    assert read(b"".join(map(public_files.frame, records))) == records


@given(data=st.data())
def test_a_flipped_bit_is_found(data):
    content = bytearray(b"".join(map(public_files.frame, [b"first", b"second"])))
    place = data.draw(st.integers(0, len(content) * 8 - 1))
    content[place // 8] ^= 1 << place % 8

    message = refusal(bytes(content))

    assert message.startswith(f"event {0 if place // 8 < len(content) - 22 else 1}: ")
    assert "is damaged: its checksum is wrong" in message


def test_a_file_cut_in_a_record_is_found():
    first, second = map(public_files.frame, [b"first", b"second"])

    for length in range(1, len(second)):
        assert "event 1: " in refusal(first + second[:length])
    assert not refusal(first)  # cut between two records: others have to tell


def test_a_record_that_is_too_long_is_not_read():
    length = struct.pack("<Q", 2**40)
    header = length + struct.pack("<I", tfrecord.masked_crc(length))

    assert (
        refusal(header)
        == "event 0: its record has 1099511627776 bytes, more than the limit of 1000."
    )


def test_lists_of_an_example_come_back():
    arrays = {"X": np.arange(24, dtype=np.float32), "other": np.ones(1, np.float32)}

    found = tfrecord.parse_example(public_files.example(arrays), ("X",))

    assert list(found) == ["X"]
    np.testing.assert_array_equal(found["X"], arrays["X"])
    assert found["X"].dtype == np.float32


def test_a_published_event_has_the_published_length(make_event):
    """100 events of delphes_pf 1.0.1 take 66,568,400 bytes."""
    record = public_files.frame(public_files.example(public_files.padded(make_event(5000, 0))))

    assert len(record) == 665_684


@pytest.mark.parametrize(
    ("record", "message"),
    [
        (b"\xff\xff\xff", "is not a tf.train.Example"),
        (b"", "has no list of numbers 'X'"),
        (public_files.example({"Y": np.ones(1)}), "has no list of numbers 'X'"),
        # X holds an int64_list: field 3.
        (
            b"\x0a\x0d\x0a\x0b\x0a\x01X\x12\x06\x1a\x04\x0a\x02\x01\x02",
            "has no list of numbers 'X'",
        ),
    ],
)
def test_a_record_that_is_not_an_example_is_refused(record, message):
    with pytest.raises(ValueError, match=message):
        tfrecord.parse_example(record, ("X",))
