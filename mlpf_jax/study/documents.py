"""Scaling studies read back, as far as the page shows them."""

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jsonschema

FORMAT = "mlpf_jax scaling study"
_MOST_BYTES = 64 * 2**20
_NUMBER = {"type": "number", "minimum": -1e30, "maximum": 1e30}
_MAYBE = {"anyOf": [{"type": "null"}, _NUMBER]}
_ESTIMATE = {
    "type": "object",
    "required": ["value", "low", "high"],
    "properties": {"value": _NUMBER, "low": _MAYBE, "high": _MAYBE},
}
_BY_PHASE = {"type": "object", "additionalProperties": _ESTIMATE}
_ROW = {
    "type": "object",
    "required": ["x"],
    "properties": {
        "x": {"type": "integer", "minimum": 1, "maximum": 1e15},
        **dict.fromkeys(("rates", "ratios", "efficiencies"), _BY_PHASE),
        "accuracy": {"anyOf": [{"type": "null"}, _ESTIMATE]},
    },
}
_STUDY = {
    "type": "object",
    "required": ["axis", "rows"],
    "properties": {"rows": {"type": "array", "items": _ROW}, "is_emulated": {"type": "boolean"}},
}
_SCHEMA = {
    "type": "object",
    "required": ["format", "format_version", "studies", "notes"],
    "properties": {
        "format": {"const": FORMAT},
        "format_version": {"const": 1},
        "studies": {"type": "object", "additionalProperties": _STUDY},
        "notes": {"type": "array", "items": {"type": "string"}},
    },
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class ScalingFile:
    """One file that `tools.scaling` wrote."""

    source: str  # the file's path as given
    document: Mapping[str, Any]

    @property
    def studies(self) -> Mapping[str, Mapping[str, Any]]:
        """The studies by name, `weak`, `strong`, `batch` or `data`."""
        return self.document["studies"]

    @property
    def notes(self) -> list[str]:
        """What the study itself says, the most important first."""
        return self.document["notes"]


def read(path: Path) -> ScalingFile | None:
    """Reads a scaling study; None if the file is anything else, or cannot be told what.

    Raises:
        ValueError: if it is a damaged study; one line that begins with the path.
        OSError: if it cannot be read.
    """
    if path.stat().st_size > _MOST_BYTES:
        return None
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError):
        return None
    if not isinstance(document, dict) or document.get("format") != FORMAT:
        return None
    error = jsonschema.exceptions.best_match(
        jsonschema.Draft202012Validator(_SCHEMA).iter_errors(document)
    )
    if error is not None:
        place = "/".join(str(part) for part in error.absolute_path) or "the study"
        raise ValueError(f"{path}: damaged: {place}: {error.message[:200]}")
    return ScalingFile(source=str(path), document=document)
