"""Archives of arrays that are damaged or foreign are refused in one line, whatever is wrong."""

import concurrent.futures
import gc
import io
import sys
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


@pytest.mark.parametrize("kind", ["U1,", "c16", "M8[s]", "V4"])
def test_elements_that_are_neither_numbers_nor_text_are_refused(kind):
    """In a field of a compound type, text can have impossible characters, too."""
    buffer = io.BytesIO()
    np.savez(buffer, a=np.zeros(2, kind))
    buffer.seek(0)

    with pytest.raises(ValueError, match="a in it is no array of numbers or text"):
        npz.read(buffer)


def test_much_text_which_could_be_json_is_refused():
    buffer = io.BytesIO()
    np.savez_compressed(buffer, a=np.array("[]," * 2**21))
    buffer.seek(0)

    with pytest.raises(ValueError, match=r"a in it is a text of more than \d+ bytes"):
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


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_an_archive_whose_unpacking_zipfile_does_not_bound_is_refused(method):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        archive.writestr("a.npy", array_with("{}"))
    buffer.seek(0)

    with pytest.raises(ValueError, match=rf"compressed by method {method}"):
        npz.read(buffer)


@pytest.fixture
def busy_collector():
    """Threads change turns in the midst of calls, at garbage collections that run Python code."""
    interval, thresholds = sys.getswitchinterval(), gc.get_threshold()

    def work(*_):
        sum(range(100))

    gc.callbacks.append(work)
    sys.setswitchinterval(1e-6)
    gc.set_threshold(5)
    yield
    gc.set_threshold(*thresholds)
    sys.setswitchinterval(interval)
    gc.callbacks.remove(work)


def test_threads_map_arrays_at_once(tmp_path, busy_collector):
    """Python 3.11 fails where two threads parse at once, as NumPy does."""
    np.save(tmp_path / "a.npy", np.arange(3))

    def map_it(_):
        return [npz.mapped(tmp_path / "a.npy").shape for _ in range(500)]

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        shapes = list(pool.map(map_it, range(8)))

    assert shapes == [[(3,)] * 500] * 8
