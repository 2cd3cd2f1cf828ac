"""Changes of inputs that keep their format, so that they reach what lies behind its parser.

Changed bytes break JSON in nine of ten cases, and the checksums of an archive always. So JSON is
changed in its values, and an archive in its members.
"""

import copy
import io
import json
import math
import random
import zipfile
import zlib
from collections.abc import Callable, Iterator
from typing import Any

Mutate = Callable[[bytes, int], bytes]  # changes bytes, to at most a number of them
_SHARE_PLAIN = 0.2  # of the changes, of bytes whatever the format
_MOST_CHANGES = 3
_MOST_UNPACKED = 2**24
_VALUES: tuple[Any, ...] = (
    *(None, True, False, 0, 1, -1, 0.5, 2**31, 2**63, -(10**300), 1e308, 1e-308),
    *(math.inf, -math.inf, math.nan, "", "0", "1e999", "nan", "../x", "/", "a\nb", "\0", "é" * 300),
    *([], {}, [[]], [None], {"": None}),
)


def mutated(content: bytes, most_bytes: int, rng: random.Random, mutate: Mutate) -> bytes:
    """Returns the input with a few changes; `mutate` changes what has no known format."""
    changed = None
    if rng.random() >= _SHARE_PLAIN:
        if content.startswith(b"PK"):
            changed = _archive(content, rng, mutate)
        elif content.lstrip().startswith((b"{", b"[")):
            changed = _document(content, rng)
    if changed is None or len(changed) > most_bytes:
        return mutate(content, most_bytes)
    return changed


def _document(content: bytes, rng: random.Random) -> bytes | None:
    """Returns changed JSON; None if it was none."""
    try:
        root = [json.loads(content)]
        for _ in range(rng.randint(1, _MOST_CHANGES)):
            if places := list(_places(root[0])):
                _change(*rng.choice(places), places, rng)
        return json.dumps(root[0]).encode()
    except (ValueError, RecursionError):
        return None


def _places(node: Any) -> Iterator[tuple[Any, Any]]:
    """Yields every place of a value: its list or object, and its index or name."""
    entries = node.items() if isinstance(node, dict) else enumerate(node)
    for key, value in entries:
        yield node, key
        if isinstance(value, dict | list):
            yield from _places(value)


def _change(owner: Any, key: Any, places: list[tuple[Any, Any]], rng: random.Random) -> None:
    value = owner[key]
    match rng.randrange(6):
        case 0:
            owner[key] = rng.choice(_VALUES)
        case 1:
            other, there = rng.choice(places)
            owner[key] = copy.deepcopy(other[there])
        case 2:
            del owner[key]
        case 3 if isinstance(value, list | str):
            owner[key] = value * 2 if rng.random() < 0.5 else value[: len(value) // 2]
        case 3 if isinstance(value, int | float):
            owner[key] = rng.choice((-value, value + 1, value // 3))
        case 4 if isinstance(owner, dict):
            owner[rng.choice(("", "x", *owner))] = owner.pop(key)
        case _:
            owner[key] = [value]


def _archive(content: bytes, rng: random.Random, mutate: Mutate) -> bytes | None:
    """Returns an archive with a changed member; None if it was none."""
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            if sum(one.file_size for one in archive.infolist()) > _MOST_UNPACKED:
                return None
            members = {name: archive.read(name) for name in archive.namelist()}
    except (OSError, ValueError, RuntimeError, EOFError, zipfile.BadZipFile, zlib.error):
        return None
    if not members:
        return None
    name, other = (rng.choice(list(members)) for _ in range(2))
    match rng.randrange(8):
        case 0:
            del members[name]
        case 1:
            members[name] = members[other]
        case 2:
            members[rng.choice((name + "x", "x.npy"))] = members.pop(name)
        case _:
            members[name] = mutate(members[name], 2 * len(members[name]) + 64)
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return buffer.getvalue()
