"""The end of a run: saves and shows the report first, and then does the optional work."""

import json
import sys
from collections.abc import Callable, Mapping
from io import TextIOBase
from pathlib import Path
from typing import Any, cast

from mlpf_jax import errors, keeping
from mlpf_jax.report import hepscore, incomplete, mllog, reader, result, summary


def deliver(finished: result.RunResult, extra_arguments: str, folder: Path) -> list[str]:
    """Writes the report into `folder` and shows the summary.

    If the report cannot be written there, it goes to a temporary folder; if that fails too, it is
    printed. Returns the problems, one line each.
    """
    document = hepscore.report(finished, extra_arguments)
    problems, kept = [], None
    try:
        path, kept = hepscore.write(document, folder)
        incomplete.remove(folder)
    except (OSError, TypeError, ValueError) as error:  # no space, or it does not match its schema
        path = keeping.write_elsewhere(hepscore.FILE_NAME, _text(document).encode())
        place = "was printed" if path is None else f"is {path}"
        problems.append(f"--results_dir={folder}: {errors.one_line(error)} The report {place}.")
    try:
        summary.show(finished, str(path or "printed below"), cast(TextIOBase, sys.stdout))
        if not document.get("app", {}).get("is_validated", True):
            print("the report was not validated: jsonschema is missing")
        if kept is not None:
            print(f"the previous report: {kept}")
        if path is None:
            print(_text(document))
        sys.stdout.flush()
    except Exception as error:  # noqa: BLE001 - a closed pipe or whatever: the report is written
        reason = getattr(error, "strerror", None) or errors.one_line(error)
        problems.append(f"standard output: {reason}. The report is {path or 'lost'}.")
    return problems


def write_mllog(finished: result.RunResult, path: Path) -> None:
    """Writes the training as a log of MLPerf.

    Raises:
        OSError: if it cannot be written.
    """
    mllog.write(path, reader.from_document(hepscore.report(finished, ""), "the run"))


def _text(document: dict[str, Any]) -> str:
    """Returns the text of a report, which may be invalid, without losing any content."""
    return json.dumps(document, default=str)


def finish(extras: Mapping[str, Callable[[], Any]]) -> list[str]:
    """Does the optional work, each task independently; returns the problems, one line each."""
    problems = []
    for flag, write in extras.items():
        try:
            write()
        except Exception as error:  # noqa: BLE001 - whatever it is, the report is whole
            reason = errors.one_line(error)[:200]
            problems.append(f"--{flag}: could not be written; the report is complete. ({reason})")
    return problems
