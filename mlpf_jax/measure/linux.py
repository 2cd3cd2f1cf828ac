"""Reads the small text files in which Linux tells of itself: /proc and /sys."""

from pathlib import Path


def text(path: Path) -> str:
    """Returns what a file says, stripped; "" where it is missing, refused or not a file."""
    try:
        return path.read_bytes().decode(errors="replace").strip("\0\n\t ")
    except OSError:
        return ""


def number(path: Path) -> int | None:
    """Returns the whole number in a file; None where there is none."""
    try:
        return int(text(path))
    except ValueError:
        return None


def fields(path: Path) -> dict[str, str]:
    """Returns the lines `name: value` of a file."""
    pairs = (line.partition(":") for line in text(path).splitlines())
    return {name.strip(): value.strip() for name, colon, value in pairs if colon}


def kib(value: str | None) -> int | None:
    """Returns the bytes of a value like "1024 kB"; None if it is none."""
    number = (value or "").split()
    return int(number[0]) * 1024 if number and number[0].isdigit() else None
