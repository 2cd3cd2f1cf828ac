"""Archives of arrays that are damaged or foreign are refused in one line, whatever is wrong."""

import io
import zipfile

import numpy as np
import pytest

from mlpf_jax.simulation import npz


def packed(**members):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in members.items():
            archive.writestr(name.replace("_npy", ".npy"), content)
    return buffer


def array_with(header):
    text = f"{header}\n".encode()
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text


def test_arrays_are_read_back():
    buffer = io.BytesIO()
    np.savez_compressed(buffer, a=np.arange(3), b=np.array("text"))
    buffer.seek(0)

    found = npz.read(buffer)

    np.testing.assert_array_equal(found["a"], np.arange(3))
    assert str(found["b"]) == "text"


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ({"a_npy": array_with("{'descr': ")}, "EOF"),
        ({"a_npy": array_with("{'descr': '<f8', 'fortran_order': False, 'shape': (1,)}")}, "EOF"),
        ({"a_npy": array_with("{'descr': '<f8', 'fortran_order': 0, 'shape': (2**50,)}")}, "."),
        (
            {
                "a_npy": array_with(
                    f"{{'descr': '<f8', 'fortran_order': False, 'shape': ({2**50},)}}"
                )
            },
            ".",
        ),
        (
            {
                "a_npy": array_with(
                    f"{{'descr': '<f8', 'fortran_order': False, 'shape': ({2**70},)}}"
                )
            },
            ".",
        ),
        ({"a": b"hello"}, "a in it is not an array"),
        ({"a_npy": b"hello"}, "a in it is not an array"),
    ],
    ids=["cut header", "no data", "odd header", "too large", "far too large", "text", "text.npy"],
)
def test_what_is_no_plain_array_is_refused_in_one_line(members, message):
    buffer = packed(**members)
    buffer.seek(0)

    with pytest.raises(ValueError, match=message) as error:
        npz.read(buffer)

    assert str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("order", ["<", ">"])
def test_text_of_impossible_characters_is_refused(order):
    header = array_with(f"{{'descr': '{order}U1', 'fortran_order': False, 'shape': ()}}")
    code = (0x110000).to_bytes(4, "little" if order == "<" else "big")
    buffer = packed(a_npy=header + code)
    buffer.seek(0)

    with pytest.raises(ValueError, match="a in it is not text"):
        npz.read(buffer)


def test_an_archive_of_an_unknown_kind_is_refused():
    content = bytearray(packed(a_npy=array_with("{}")).getvalue())
    place = content.index(b"PK\x01\x02")
    content[place + 6] = 99  # the version needed to unpack it

    with pytest.raises(ValueError, match="zip file version"):
        npz.read(io.BytesIO(content))


def test_a_small_archive_that_unpacks_to_much_is_refused(monkeypatch):
    buffer = io.BytesIO()
    np.savez_compressed(buffer, zeros=np.zeros(10**6))
    buffer.seek(0)
    monkeypatch.setattr(npz, "MOST_BYTES", 10**6)

    with pytest.raises(ValueError, match=r"unpacks to 8000128 bytes, more than 1000000"):
        npz.read(buffer)
