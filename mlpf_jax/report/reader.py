"""Reads result files, for programs that compare or show them."""

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from mlpf_jax.report import fields, hepscore, incomplete, schema
from mlpf_jax.report.model import Report
from mlpf_jax.report.phase import Phase

__all__ = ["Phase", "Report", "find", "from_document", "read"]
_NO_RESULTS = {hepscore.UNSCORED_FILE_NAME, incomplete.FILE_NAME}


def read(path: Path) -> Report:
    """Reads one report and validates it against the schema.

    Raises:
        ValueError: if it is not a report of this benchmark; the message begins with the path.
        OSError: if it cannot be read.
    """
    try:
        document = schema.load(path, fields.MOST_BYTES)
        _refuse_no_result(document)
        schema.validate(document)
        return from_document(document, str(path))
    except (ValueError, RecursionError) as error:
        text = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ValueError(f"{path}: {text}") from None


def from_document(document: Mapping[str, Any], source: str) -> Report:
    """Returns the report of a document that matches the schema."""
    return Report(document, source)


def _refuse_no_result(document: Any) -> None:
    """Tells why a report of ours is no result; other documents are left to the schema."""
    match document:
        case {"status": "incomplete", "reason": reason}:
            raise ValueError(f"the run did not end: {reason}")
        case {"report": {"wl-stats": {"no_score": reason}}}:
            raise ValueError(f"the run has no score: {reason}")


def find(paths: Iterable[Path]) -> list[Path]:
    """Returns the files, and for each folder its *.json files, in order of name.

    Reports of incomplete runs, of runs without a score, and of the copies of a workload, whose sum
    is in its summary, are left out, unless they or their own folders are named.

    Raises:
        ValueError: if a folder has none, or a path does not exist.
    """
    files = []
    for path in paths:
        inside = [path]
        if path.is_dir():
            inside = sorted(file for file in path.rglob("*.json") if _is_result(file, path))
        if not inside:
            raise ValueError(f"{path}: no result file (*.json) in this folder.")
        if not inside[0].is_file():
            raise ValueError(f"{path}: no such file.")
        files += inside
    return files


def _is_result(file: Path, folder: Path) -> bool:
    if file.exists() and not file.is_file():  # a pipe would keep its reader waiting
        return False
    is_in_copy = file.parent != folder and re.fullmatch(r"proc_[0-9]+", file.parent.name)
    is_of_copy = is_in_copy and file.name == hepscore.COPY_FILE_NAME
    return file.name not in _NO_RESULTS and not is_of_copy
