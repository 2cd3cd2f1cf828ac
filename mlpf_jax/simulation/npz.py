"""Reads NumPy's files of arrays (.npy and .npz), which may be damaged or written by a stranger."""

import contextlib
import io
import sys
import threading
import tokenize
import warnings
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

MOST_BYTES = 2**32  # of all arrays in an archive
_KINDS = "biufU"  # of the elements: numbers and text; the fields of a compound type are not checked
_MOST_TEXT_BYTES = 2**24  # of an array of text: read as JSON, it takes many times as much
# What NumPy raises for a damaged header, which can ask for more memory than there is.
_BAD_HEADER = (
    *(EOFError, MemoryError, OverflowError, RecursionError, SyntaxError, TypeError, ValueError),
    tokenize.TokenError,
)
# What zipfile and zlib raise for damaged or foreign files. NotImplementedError is a RuntimeError.
_BAD_ARCHIVE = (LookupError, OSError, RuntimeError, zipfile.BadZipFile, zlib.error)
_PARSING = threading.Lock()


def mapped(path: Path) -> np.memmap:
    """Returns the array of a .npy file, mapped into memory. Nothing is unpickled.

    Raises:
        ValueError: if it is not a file of a plain array.
    """
    try:
        with _parsing():
            return np.lib.format.open_memmap(path, mode="r")
    except _BAD_HEADER as error:
        raise ValueError(_reason(error)) from error


def read(file: io.BufferedIOBase) -> dict[str, np.ndarray]:
    """Returns the arrays by name. Nothing is unpickled.

    Raises:
        ValueError: if it is not an archive of plain arrays, or unpacks to more than `MOST_BYTES`.
    """
    start = file.read(2)
    if start != b"PK":  # np.load would try other formats
        raise ValueError("it is not an npz archive")
    file.seek(0)
    try:
        with _parsing(), np.load(file, allow_pickle=False) as archive:
            _bound(archive.zip.infolist())
            arrays = {name: archive[name] for name in archive.files}
    except (*_BAD_HEADER, *_BAD_ARCHIVE) as error:
        raise ValueError(_reason(error)) from error
    for name, array in arrays.items():
        if not isinstance(array, np.ndarray):  # bytes, of a file of another kind
            raise ValueError(f"{name} in it is not an array")  # noqa: TRY004
        if array.dtype.kind not in _KINDS:
            raise ValueError(f"{name} in it is no array of numbers or text")
        if array.dtype.kind == "U":
            _check_text(name, array)
    return arrays


def _bound(members: Sequence[zipfile.ZipInfo]) -> None:
    num_bytes = sum(one.file_size for one in members)
    if num_bytes > MOST_BYTES:
        raise ValueError(f"it unpacks to {num_bytes} bytes, more than {MOST_BYTES}")
    for one in members:
        # zipfile unpacks the others, which NumPy never writes, without regard to the size.
        if one.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise ValueError(f"it is compressed by method {one.compress_type}")


@contextlib.contextmanager
def _parsing() -> Iterator[None]:
    """Lets one thread at a time parse headers, without the warnings of those that Python 2 wrote.

    Of two threads that parse Python's syntax at once, one can get a SystemError (CPython 3.11,
    gh-106905); and warnings are switched off for all threads.
    """
    with _PARSING, warnings.catch_warnings(action="ignore"):
        yield


def _reason(error: Exception) -> str:
    return str(error).partition("\n")[0] or type(error).__name__


def _check_text(name: str, array: np.ndarray) -> None:
    """Refuses too much text, and text of more than characters: NumPy makes a broken str of it."""
    if array.nbytes > _MOST_TEXT_BYTES:
        raise ValueError(f"{name} in it is a text of more than {_MOST_TEXT_BYTES} bytes")
    codes = np.frombuffer(array.tobytes(), np.dtype("u4").newbyteorder(array.dtype.byteorder))
    if codes.max(initial=0) > sys.maxunicode:
        raise ValueError(f"{name} in it is not text")
