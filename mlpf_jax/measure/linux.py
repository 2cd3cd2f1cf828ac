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
