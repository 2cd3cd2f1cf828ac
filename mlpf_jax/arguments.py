"""Preprocesses a command line before flags are parsed: expands flag files, unifies dashes."""

import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

_FLAG_FILE = "--flagfile"


def expand(words: Sequence[str]) -> list[str]:
    """Returns the words with `--flagfile=FILE` replaced by the content of the file.

    `--num-devices` becomes `--num_devices`, because HEPscore's configurations use dashes. `~` at
    the start of a path becomes the home folder. Words after `--` are unchanged.

    Raises:
        OSError: if a flag file cannot be read.
        ValueError: if one includes itself, or is given without a path, or `~` has no home folder.
    """
    return list(_expanded(iter(words), ()))


def read_file(path: Path) -> list[str]:
    """Returns the words of a flag file; included files are relative to its folder.

    Raises:
        OSError: if it cannot be read.
        ValueError: if it includes itself.
    """
    return list(_words_of(path, ()))


def _expanded(words: Iterator[str], within: tuple[Path, ...]) -> Iterator[str]:
    for word in words:
        if word == "--":
            yield word
            yield from words
            return
        name, equals, value = _unified(word).partition("=")
        word = name + equals + value
        if name not in (_FLAG_FILE, _FLAG_FILE[1:]):
            yield word
            continue
        value = value if equals else next(words, "")
        if not value:
            raise ValueError(f"{_FLAG_FILE}: give a file, {_FLAG_FILE}=FILE.")
        yield from _words_of(Path(_from_home(value)), within)


def _words_of(path: Path, within: tuple[Path, ...]) -> Iterator[str]:
    path = within[-1].parent / path if within else path
    if path.resolve() in within:
        raise ValueError(f"{_FLAG_FILE}={path}: includes itself.")
    # A byte-order mark comes from an editor; other bytes may belong to a path.
    text = path.read_bytes().decode("utf-8-sig", errors="surrogateescape")
    lines = [line.strip() for line in text.split("\n")]
    settings = (line for line in lines if line and not line.startswith(("#", "//")))
    yield from _expanded(settings, (*within, path.resolve()))


def _unified(word: str) -> str:
    """Returns the word with underscores in its flag's name and `~` replaced by the home folder."""
    if not word.startswith("-"):
        return _from_home(word)
    name, equals, value = word.partition("=")
    if name.startswith("--"):
        name = "--" + name[2:].replace("-", "_")
    return name + equals + _from_home(value)


def _from_home(value: str) -> str:
    """Expands `~` at the start: a shell does not expand it in `--out=~/x`."""
    if not re.match(r"~[\w.-]*(/|$)", value):
        return value
    expanded = os.path.expanduser(value)
    if expanded == value:
        raise ValueError(f"{value}: no such home folder.")
    return expanded
