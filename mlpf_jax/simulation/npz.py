"""Reads archives of arrays (.npz), which may be damaged or written by a stranger."""

import io
import sys
import tokenize
import warnings
import zipfile
import zlib

import numpy as np

MOST_BYTES = 2**32  # of all arrays
# What NumPy raises for a damaged header, which can ask for more memory than there is.
BAD_HEADER = (
    *(EOFError, MemoryError, OverflowError, RecursionError, SyntaxError, TypeError, ValueError),
    tokenize.TokenError,
)
# What zipfile and zlib raise for damaged or foreign files. NotImplementedError is a RuntimeError.
_BAD_ARCHIVE = (LookupError, OSError, RuntimeError, zipfile.BadZipFile, zlib.error)


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
        with warnings.catch_warnings(action="ignore"), np.load(file, allow_pickle=False) as archive:
            num_bytes = sum(one.file_size for one in archive.zip.infolist())
            if num_bytes > MOST_BYTES:
                raise ValueError(f"it unpacks to {num_bytes} bytes, more than {MOST_BYTES}")
            arrays = {name: archive[name] for name in archive.files}
    except (*BAD_HEADER, *_BAD_ARCHIVE) as error:
        raise ValueError(str(error).partition("\n")[0] or type(error).__name__) from error
    for name, array in arrays.items():
        if not isinstance(array, np.ndarray):  # bytes, of a file of another kind
            raise ValueError(f"{name} in it is not an array")  # noqa: TRY004
        if array.dtype.kind == "U" and not _is_text(array):
            raise ValueError(f"{name} in it is not text")
    return arrays


def _is_text(array: np.ndarray) -> bool:
    """Whether a text array has only characters; NumPy makes a broken str of other numbers."""
    codes = np.frombuffer(array.tobytes(), np.dtype("u4").newbyteorder(array.dtype.byteorder))
    return bool(codes.max(initial=0) <= sys.maxunicode)
