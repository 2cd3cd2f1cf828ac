"""Makes the standard streams safe to use: closed, full, without a reader, or in any encoding."""

import errno
import io
import os
import shutil
import sys
from typing import Any

_NAMES = ("stdin", "stdout", "stderr")
_LONGEST_LINE = 4000


class _Output(io.TextIOWrapper):
    """Standard output whose errors name it."""

    def write(self, text: str) -> int:
        try:
            return super().write(text)
        except OSError as error:
            raise _named(error) from None

    def flush(self) -> None:
        try:
            super().flush()
        except OSError as error:
            raise _named(error) from None


def prepare() -> None:
    """Opens closed streams on /dev/null, and escapes characters that the encoding lacks.

    Otherwise the next file to be opened would get the descriptor of a closed stream, and messages
    of libraries would be written into that file.
    """
    for number, name in enumerate(_NAMES):
        try:
            os.fstat(number)
        except OSError:  # the lowest free number, so this one
            os.open(os.devnull, os.O_RDWR)
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(number, "w" if number else "r", closefd=False))
    stream = sys.stdout
    if isinstance(stream, io.TextIOWrapper) and sys.__stdout__ in (stream, None):  # no test's
        lines, encoding = stream.line_buffering, stream.encoding
        named = _Output(
            stream.detach(), encoding=encoding, errors="backslashreplace", line_buffering=lines
        )
        sys.stdout = sys.__stdout__ = named


def flush() -> OSError | None:
    """Flushes standard output and returns the error, if any. A closed pipe is not an error."""
    try:
        sys.stdout.flush()
    except OSError as error:
        _discard()
        return None if error.errno == errno.EPIPE else error
    return None


def line(text: str) -> str:
    """Returns one line that is safe to print: text from a hostile file must not fill or control
    the terminal.
    """
    shown = text if len(text) <= _LONGEST_LINE else f"{text[:_LONGEST_LINE]}..."
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in shown)


def width(stream: Any, most: int) -> int:
    """Returns the number of columns to fill: at most `most`, or fewer on a narrow terminal."""
    return min(most, shutil.get_terminal_size((most, 24)).columns) if stream.isatty() else most


def _named(error: OSError) -> OSError:
    return OSError(error.errno, error.strerror, "standard output")


def _discard() -> None:
    """Redirects standard output to /dev/null, so that Python's exit does not fail on it."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.close(nowhere)
