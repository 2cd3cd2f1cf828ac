"""Preprocesses a command line before flags are parsed: expands flag files, unifies dashes."""

import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

_FLAG_FILE = "--flagfile"
_MOST_BYTES, _MOST_FILES = 2**20, 100


def expand(words: Sequence[str]) -> list[str]:
    """Returns the words with `--flagfile=FILE` replaced by the content of the file.

    `--num-devices` becomes `--num_devices`, because HEPscore's configurations use dashes. `~` at
    the start of a path becomes the home folder. Words after `--` are unchanged.

    Raises:
        OSError: if a flag file cannot be read.
        ValueError: if one includes itself, is too large, or is given without a path, if there are
            too many, or `~` has no home folder.
    """
    return list(_Expansion().words(iter(words), ()))


def read_file(path: Path) -> list[str]:
    """Returns the words of a flag file; included files are relative to its folder.

    Raises:
        OSError: if it cannot be read.
        ValueError: if it includes itself, is too large, or includes too many.
    """
    return list(_Expansion().words_of(path, ()))


class _Expansion:
    """One expansion, with bounds on what a file can make it read."""

    def __init__(self):
        self._num_files = 0

    def words(self, words: Iterator[str], within: tuple[Path, ...]) -> Iterator[str]:
        """Yields the words with files replaced; `within` are the files that they come from."""
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
            yield from self.words_of(Path(_from_home(value)), within)

    def words_of(self, path: Path, within: tuple[Path, ...]) -> Iterator[str]:
        """Yields the words of a file."""
        path = within[-1].parent / path if within else path
        if path.resolve() in within:
            raise ValueError(f"{_FLAG_FILE}={path}: includes itself.")
        self._num_files += 1
        if self._num_files > _MOST_FILES:
            raise ValueError(f"{_FLAG_FILE}={path}: more than {_MOST_FILES} files are included.")
        with path.open("rb") as file:
            content = file.read(_MOST_BYTES + 1)
        if len(content) > _MOST_BYTES:
            raise ValueError(f"{_FLAG_FILE}={path}: is larger than {_MOST_BYTES} bytes.")
        # A byte-order mark comes from an editor; other bytes may belong to a path.
        text = content.decode("utf-8-sig", errors="surrogateescape")
        lines = [line.strip() for line in text.split("\n")]
        settings = (line for line in lines if line and not line.startswith(("#", "//")))
        yield from self.words(settings, (*within, path.resolve()))


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
