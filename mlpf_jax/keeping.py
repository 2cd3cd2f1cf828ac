"""Keeps what a program found even if it cannot be written where a user asked for it."""

import tempfile
from pathlib import Path

from mlpf_jax import atomic, errors


def write_file(path: Path, content: bytes) -> str | None:
    """Writes `content` to `path`, or else into a new temporary folder.

    Returns None, or one line that says what failed and where the content is.
    """
    try:
        atomic.write_file(path, content)
    except OSError as error:
        other = write_elsewhere(path.name, content)
        return f"{errors.one_line(error)} {f'It is {other}.' if other else 'Nothing was kept.'}"
    return None


def write_elsewhere(name: str, content: bytes) -> Path | None:
    """Writes `content` into a new temporary folder; returns the file, None if that fails, too."""
    try:
        path = Path(tempfile.mkdtemp(prefix="mlpf-jax-")) / name
        atomic.write_file(path, content)
    except OSError:
        return None
    return path
