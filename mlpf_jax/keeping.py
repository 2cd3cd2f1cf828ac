"""Saves results even if they cannot be written to the requested place."""

import tempfile
from pathlib import Path

from mlpf_jax import atomic, errors

_TRIED_BYTES = 2**20


def try_file(path: Path) -> None:
    """Checks whether a file can be written to `path`, before the work that produces it.

    Raises:
        OSError: if it cannot; the error names the folder.
    """
    atomic.try_writing(path.parent, _TRIED_BYTES)


def write_file(path: Path, content: bytes) -> None:
    """Writes `content` to `path`, or into a new temporary folder if that fails.

    Raises:
        OSError: if `path` cannot be written; the message is one line with the reason and the new
            place.
    """
    try:
        atomic.write_file(path, content)
    except OSError as error:
        other = write_elsewhere(path.name, content)
        place = "Nothing was saved." if other is None else f"Its content is in {other}."
        raise OSError(f"{errors.one_line(error)} {place}") from None


def write_elsewhere(name: str, content: bytes) -> Path | None:
    """Writes `content` into a new temporary folder; returns the file, or None on failure."""
    try:
        path = Path(tempfile.mkdtemp(prefix="mlpf-jax-")) / name
        atomic.write_file(path, content)
    except OSError:
        return None
    return path
