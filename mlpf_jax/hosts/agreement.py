"""What must be the same in all processes of a run, and what differs, in one line."""

import hashlib
from collections.abc import Mapping

Facts = Mapping[str, str]
_MOST_SHOWN = 3
_LONGEST = 40  # characters of a value


def difference(ours: Facts, theirs: Facts, who: str) -> str | None:
    """Returns in what `who` differs from process 0; None if all facts are the same."""
    if digest(ours) == digest(theirs):
        return None
    names = [name for name in {**ours, **theirs} if ours.get(name) != theirs.get(name)]
    told = [
        f"{name} is {_short(theirs.get(name))} there and {_short(ours.get(name))} in process 0"
        for name in names[:_MOST_SHOWN]
    ]
    more = len(names) - _MOST_SHOWN
    return f"{who} differs: {'; '.join(told)}{f'; {more} more' if more > 0 else ''}"


def digest(facts: Facts) -> str:
    """Returns the SHA-256 of the facts by name."""
    content = "\n".join(f"{name!r}: {str(facts[name])!r}" for name in sorted(facts))
    return hashlib.sha256(content.encode()).hexdigest()


def _short(value: str | None) -> str:
    if value is None:
        return "none"
    text = "".join(c for c in str(value) if c.isprintable())
    is_digest = len(text) in (32, 40, 64) and set(text) <= set("0123456789abcdef")
    return text[:12] if is_digest else text[:_LONGEST] or "none"
