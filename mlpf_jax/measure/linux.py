"""Reads the small text files under /proc and /sys."""

from pathlib import Path


def text(path: Path) -> str:
    """Returns the stripped text of a file; "" if it is missing, unreadable or not a file."""
    try:
        return path.read_bytes().decode(errors="replace").strip("\0\n\t ")
    except OSError:
        return ""


def number(path: Path) -> int | None:
    """Returns the integer in a file; None if there is none."""
    try:
        return int(text(path))
    except ValueError:
        return None


def fields(path: Path) -> dict[str, str]:
    """Returns the lines `name: value` of a file."""
    pairs = (line.partition(":") for line in text(path).splitlines())
    return {name.strip(): value.strip() for name, colon, value in pairs if colon}


def kib(value: str | None) -> int | None:
    """Returns a value like "1024 kB" in bytes; None if it has another form."""
    number = (value or "").split()
    return int(number[0]) * 1024 if number and number[0].isdigit() else None
