"""Keeps what a program found even if it cannot be written where a user asked for it."""

import tempfile
from pathlib import Path

from mlpf_jax import atomic, errors

_TRIED_BYTES = 2**20


def try_file(path: Path) -> None:
    """Tries whether a file can be written to `path`, before the work whose outcome it will hold.

    Raises:
        OSError: if it cannot; it names the folder.
    """
    atomic.try_writing(path.parent, _TRIED_BYTES)


def write_file(path: Path, content: bytes) -> None:
    """Writes `content` to `path`, or else into a new temporary folder.

    Raises:
        OSError: if `path` cannot be written; one line says why, and where the content is.
    """
    try:
        atomic.write_file(path, content)
    except OSError as error:
        other = write_elsewhere(path.name, content)
        place = "Nothing was kept." if other is None else f"What it should hold is {other}."
        raise OSError(f"{errors.one_line(error)} {place}") from None


def write_elsewhere(name: str, content: bytes) -> Path | None:
    """Writes `content` into a new temporary folder; returns the file, None if that fails, too."""
    try:
        path = Path(tempfile.mkdtemp(prefix="mlpf-jax-")) / name
        atomic.write_file(path, content)
    except OSError:
        return None
    return path
