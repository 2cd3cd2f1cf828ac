"""Arrays in plain containers are read; all other instructions are refused and not executed."""

import bz2
import collections
import copyreg
import datetime
import io
import os
import pickle
import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from mlpf_jax.events import pickles

PROTOCOLS = [2, 3, 4, 5]


def load(content, max_bytes=10**6):
    return pickles.load(io.BytesIO(content), max_bytes=max_bytes)


def refusal(content):
    """Returns the error message for a pickle that cannot be read."""
    try:
        load(content)
    except ValueError as error:
        return str(error)
    return ""


def equal(left, right):
    """Whether two nested values are the same in value and type."""
    if type(left) is not type(right):
        return False
    if isinstance(left, np.ndarray):
        return left.dtype == right.dtype and np.array_equal(left, right)
    if isinstance(left, dict):
        return left.keys() == right.keys() and all(equal(left[k], right[k]) for k in left)
    if isinstance(left, list | tuple):
        return len(left) == len(right) and all(map(equal, left, right))
    return left == right


numbers = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False)
arrays = hnp.arrays(
    st.sampled_from(["<f8", ">f8", "<f4", "<f2", "<i8", "|i1", "<u2", ">u4", "|b1"]),
    hnp.array_shapes(min_dims=0, min_side=0),
    elements={"allow_nan": False},
)
values = st.recursive(
    numbers | st.text() | st.binary() | arrays,
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner) | st.lists(inner).map(tuple),
    max_leaves=10,
)


@given(value=values, protocol=st.sampled_from(PROTOCOLS))
def test_arrays_and_plain_containers_come_back(value, protocol):
    assert equal(load(pickle.dumps(value, protocol)), value)


@pytest.fixture
def old_numpy(monkeypatch):
    """Makes NumPy write the module names of NumPy 1."""
    from numpy._core import multiarray, numeric

    for owner, name in (
        (multiarray, "_reconstruct"),
        (multiarray, "scalar"),
        (numeric, "_frombuffer"),
    ):
        module = owner.__name__.replace("._core", ".core")
        monkeypatch.setattr(getattr(owner, name), "__module__", module)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize(
    "array",
    [
        np.arange(24.0).reshape(2, 12),
        np.asfortranarray(np.arange(24.0).reshape(2, 12)),
        np.arange(24.0).reshape(2, 12)[:, ::2],
        np.zeros((0, 12)),
    ],
    ids=["plain", "fortran", "strided", "empty"],
)
def test_arrays_of_old_numpy_are_read(old_numpy, protocol, array):
    content = pickle.dumps([array, np.float64(7)], protocol)
    assert b"numpy.core." in content
    assert b"numpy._core." not in content

    found, number = load(content)

    np.testing.assert_array_equal(found, array)
    assert number == 7


def test_arrays_of_python_2_are_read():
    content = (
        b"\x80\x02cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R"
        b"(K\x01K\x02\x85cnumpy\ndtype\nU\x02f8K\x00K\x01\x87R(K\x03U\x01<NNNJ\xff\xff\xff\xff"
        b"J\xff\xff\xff\xffK\x00tb\x89U\x10" + struct.pack("<dd", 1.5, -2.0) + b"tb."
    )
    np.testing.assert_array_equal(load(content), [1.5, -2.0])


class Reduced:
    """Pickles as the call of a function."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call

    def __call__(self):
        """Only what can be called is pickled as a function."""


class WithState:
    """Pickles as the making of an object and the setting of its state."""

    def __init__(self):
        self.state = 1


def persistent(value, protocol):
    class Pickler(pickle.Pickler):
        def persistent_id(self, obj):
            return "somewhere" if obj is value else None

    stream = io.BytesIO()
    Pickler(stream, protocol).dump([value])
    return stream.getvalue()


HARMFUL = {
    "os.system": lambda mark: Reduced(os.system, f"touch {mark}"),
    "eval": lambda mark: Reduced(eval, f"__import__('os').mkdir({str(mark)!r})"),
    "exec": lambda mark: Reduced(exec, f"import os; os.mkdir({str(mark)!r})"),
    "os.mkdir": lambda mark: Reduced(os.mkdir, str(mark)),
    "getattr of a module": lambda mark: Reduced(
        Reduced(getattr, Reduced(__import__, "os"), "system"), f"touch {mark}"
    ),
    "in a list": lambda mark: {"X": [np.zeros(3), Reduced(os.system, f"touch {mark}")]},
    "as a key": lambda mark: {Reduced(os.system, f"touch {mark}"): 1},
    "in an array of objects": lambda mark: np.array([Reduced(os.system, f"touch {mark}")], object),
    "numpy's own": lambda mark: Reduced(np.save, str(mark), 1),
    "numpy's memmap": lambda mark: Reduced(np.memmap, str(mark), "uint8", "w+", 0, (1,)),
}


@pytest.mark.parametrize("protocol", [0, 1, *PROTOCOLS])
@pytest.mark.parametrize("name", HARMFUL)
def test_a_harmful_pickle_is_refused_and_does_nothing(tmp_path, name, protocol):
    content = pickle.dumps(HARMFUL[name](tmp_path / "mark"), protocol)
    pickle.loads(content)  # a real one: it does its work
    (made,) = tmp_path.iterdir()
    made.rmdir() if made.is_dir() else made.unlink()

    with pytest.raises(pickles.RefusedError, match="only NumPy arrays of numbers") as caught:
        load(content)

    assert "\n" not in str(caught.value)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize(
    ("value", "message"),
    [
        (np.array([print]), "array of Python objects"),
        (np.array([None, 1]), "array of Python objects"),
        (np.array(["text"]), "array of type 'U4'"),
        (np.array([b"bytes"]), "array of type 'S5'"),
        (np.array([1 + 2j]), "array of type 'c16'"),
        (np.array([(1, 2.0)], "i4,f8"), "array of type 'V12'"),
        (np.array([(print,)], "O"), "array of Python objects"),
        (np.array([0], "M8[s]"), "array of type 'M8'"),
        (np.ma.masked_array([1.0], [True]), "asks for 'numpy.ma"),
        (np.rec.array([(1, 2)], "i4,i4"), "asks for 'numpy.*recarray"),
        (np.zeros(3).view(type("Sub", (np.ndarray,), {})), None),
        ({1, 2}, None),
        (frozenset([1]), None),
        (1j, "asks for '.*complex"),
        (range(3), None),
        (collections.OrderedDict(a=1), "asks for 'collections.OrderedDict"),
        (datetime.date(2021, 2, 1), "asks for 'datetime.date"),
        (WithState(), None),
        (os.system, "asks for '.*system"),
        (np.random.default_rng(0), None),
        (slice(1), None),
    ],
)
def test_values_that_are_not_a_numeric_array_are_refused(value, message, protocol, monkeypatch):
    if isinstance(value, np.ndarray) and type(value).__name__ == "Sub":
        monkeypatch.setitem(globals(), "Sub", type(value))
        monkeypatch.setattr(type(value), "__module__", __name__)

    with pytest.raises(pickles.RefusedError, match=message or "only NumPy arrays of numbers"):
        load(pickle.dumps(value, protocol))


@pytest.mark.parametrize("protocol", [1, *PROTOCOLS])
def test_a_persistent_id_is_refused(protocol):
    with pytest.raises(pickles.RefusedError, match="has the instruction BINPERSID"):
        load(persistent(WithState(), protocol))


def test_a_buffer_beside_the_pickle_is_refused():
    content = pickle.dumps(np.zeros(3), 5, buffer_callback=lambda buffer: None)

    with pytest.raises(pickles.RefusedError, match="has the instruction"):
        load(content)


def test_an_extension_code_is_refused():
    copyreg.add_extension("os", "system", 0xF0)
    try:
        with pytest.raises(pickles.RefusedError, match="has the instruction EXT1"):
            load(b"\x80\x02\x82\xf0\x8c\x04true\x85R.")
    finally:
        copyreg.remove_extension("os", "system", 0xF0)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"(ios\nsystem\n.", "has the instruction INST"),
        (b"(cos\nsystem\no.", "asks for 'os.system"),
        (b"\x80\x04\x8c\x02os\x8c\x06system\x93.", "asks for 'os.system"),
        (
            b"\x80\x04\x8c\x07_codecs\x8c\x0fencode.__self__\x93.",
            "asks for '_codecs.encode.__self__",
        ),
        (b"\x80\x02cnumpy\nndarray.__reduce__\n.", "asks for 'numpy.ndarray.__reduce__"),
        (b"\x80\x02cnumpy.core.multiarray.x\n_reconstruct\n.", "asks for 'numpy.core.multiarray.x"),
        (b"\x80\x02cnumpy._core\n_reconstruct\n.", "asks for 'numpy._core._reconstruct"),
        (b"\x80\x02c_codecs\nencode\n}U\x01xK\x01sb.", "sets the state of a _StandIn"),
        (b"\x80\x02]}U\x01xK\x01sb.", "sets the state of a list"),
        (b"\x80\x02U\x01x)R.", "calls a str"),
        (b"\x80\x02c_codecs\nencode\nU\x01xU\x05rot13\x86R.", "encodes text"),
        (b"\x80\x02c_codecs\nencode\n)\x81.", "has the instruction NEWOBJ"),
        (b"\x80\x02cnumpy\ndtype\nU\x03O,O\x85R.", "array of Python objects"),
        (b"\x80\x02cnumpy\ndtype\nU\x02f8\x85R(K\x03U\x01<U\x01xNNttb.", None),
        (
            b"\x80\x02cnumpy\ndtype\nU\x02f8\x85R(K\x03U\x01<NU\x01xNJ\xff\xff\xff\xffK\x00K\x00tb.",
            "compound type",
        ),
        (b"\x80\x02cnumpy.core.multiarray\n_reconstruct\nU\x01x)U\x01b\x87R.", "of another kind"),
        # These would take long if they were repeated or multiplied.
        (
            b"\x80\x02cnumpy\ndtype\nU\x02f8\x85R(K\x03U\x01<" + b"N" * 1000 + b"tb.",
            "the state of a type is too long",
        ),
        (
            b"\x80\x02cnumpy.core.numeric\n_frombuffer\n(U\x00cnumpy\ndtype\nU\x02f8\x85R"
            b"(" + b"K\x7f" * 1000 + b"tU\x01CtR.",
            "an array has more than 32 axes",
        ),
    ],
)
def test_a_hand_made_pickle_is_refused(content, message):
    with pytest.raises(ValueError, match=message):
        load(content)


def test_more_bytes_than_admitted_are_refused():
    content = pickle.dumps(bytes(10**7), 4)
    packed = io.BytesIO(bz2.compress(content))
    assert len(packed.getvalue()) < 1000

    with bz2.BZ2File(packed) as stream, pytest.raises(pickles.RefusedError) as caught:
        pickles.load(stream, max_bytes=10**6)

    assert str(caught.value) == "has more than 1000000 bytes when decompressed."


@pytest.mark.parametrize(
    "content",
    [
        b"\x80\x04\x8e" + struct.pack("<Q", 2**62) + b"x",  # bytes
        b"\x80\x05\x96" + struct.pack("<Q", 2**62) + b"x",  # a bytearray
        b"\x80\x04\x95" + struct.pack("<Q", 2**62) + b"x",  # a frame
        b"\x80\x02\x8b\xff\xff\xff\x7fx",  # an integer
        b"\x80\x02I" + b"1" * 10**5 + b"\n.",  # an integer as text
        b"\x80\x02N" + b"r\xff\xff\xff\xff" + b"0" * 10,  # a place in the memo
    ],
)
def test_a_size_that_is_only_claimed_takes_no_memory(content):
    with pytest.raises(ValueError):  # noqa: PT011  (each in other words)
        load(content)


def test_a_long_name_is_not_repeated_in_full():
    assert len(refusal(b"\x80\x02c" + b"a" * 10**5 + b"\nb\n.")) < 200


def test_a_memo_of_any_index_is_small():
    assert load(b"\x80\x02Nr\xff\xff\xff\xff.") is None


_TEXT = b"X" + struct.pack("<I", 10**5) + b"a" * 10**5
_ENCODE = b"c_codecs\nencode\nh\x01\x85R"
_ARRAY = (
    b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\n)U\x01b\x87R"
    b"(K\x01J\xa0\x86\x01\x00\x85cnumpy\ndtype\nU\x02u1\x85R\x89h\x01tb"
)


@pytest.mark.parametrize("instructions", [_ENCODE, _ARRAY], ids=["bytes", "array"])
def test_a_text_that_is_encoded_again_and_again_is_refused(instructions):
    content = b"\x80\x02" + _TEXT + b"q\x01" + instructions

    assert len(load(content + b".")) == 10**5
    with pytest.raises(pickles.RefusedError, match="encodes more than 1000000 characters"):
        load(content + instructions * 10 + b".")


def test_bytes_behind_the_end_are_refused():
    with pytest.raises(ValueError, match="there are bytes after its end"):
        load(pickle.dumps(1) + pickle.dumps(2))


def test_too_many_instructions_are_refused(monkeypatch):
    monkeypatch.setattr(pickles, "MAX_INSTRUCTIONS", 1000)

    with pytest.raises(pickles.RefusedError, match="more than 1000 instructions"):
        load(pickle.dumps(list(range(1000)), 4))


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_pickle_cut_anywhere_is_refused(protocol):
    content = pickle.dumps({"X": [np.arange(4.0)], "n": 1}, protocol)

    for length in range(len(content)):
        with pytest.raises(ValueError, match=r"is not a complete pickle|contains an array"):
            load(content[:length])


@pytest.mark.filterwarnings("ignore:invalid escape")  # of pickletools, at names of odd bytes
@settings(max_examples=300)
@given(data=st.data(), protocol=st.sampled_from(PROTOCOLS))
def test_a_damaged_pickle_is_refused_in_one_line_or_read(data, protocol):
    content = bytearray(pickle.dumps({"X": [np.arange(4.0)], "n": [1, 2.5, "x"]}, protocol))
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))

    assert "\n" not in refusal(bytes(content))


@settings(max_examples=300)
@given(content=st.binary(max_size=60))
def test_any_bytes_are_refused_in_one_line_or_read(content):
    assert "\n" not in refusal(b"\x80\x02" + content)
