"""Embeds result files in the page as download links, without scripts."""

import base64
import dataclasses
import gzip
import json
from collections.abc import Mapping, Sequence
from pathlib import PurePath
from typing import Any

from mlpf_jax.render import escaping

_PLAIN_BYTES = 40_000  # larger files are compressed
MOST_BYTES = 1_500_000  # limit for one link: browsers do not save longer ones
MOST_BYTES_IN_ALL = 3_000_000


@dataclasses.dataclass(frozen=True, kw_only=True)
class Download:
    """One file; `link` is None if it is too large for a page."""

    label: str
    source: str
    file_name: str
    num_bytes: int
    link: str | None


def downloads(documents: Sequence[tuple[str, str, Mapping[str, Any]]]) -> tuple[Download, ...]:
    """Returns a link for every label, source and document, up to a limit on the page's size."""
    found, left = [], MOST_BYTES_IN_ALL
    for label, source, document in documents:
        name = escaping.clean(PurePath(source).name) or "result.json"
        content = (json.dumps(document, indent=1) + "\n").encode()
        kind, packed = "json", content
        if len(content) > _PLAIN_BYTES:
            kind, packed, name = "gzip", gzip.compress(content, mtime=0), f"{name}.gz"
        encoded = base64.b64encode(packed).decode()
        fits = len(encoded) <= min(MOST_BYTES, left)
        left -= len(encoded) if fits else 0
        found.append(
            Download(
                label=label,
                source=source,
                file_name=name,
                num_bytes=len(content),
                link=f"data:application/{kind};base64,{encoded}" if fits else None,
            )
        )
    return tuple(found)
