"""The end of a run: the report is kept and shown first, then comes what it can do without."""

import json
import sys
from collections.abc import Callable, Mapping
from io import TextIOBase
from pathlib import Path
from typing import Any, cast

from mlpf_jax import errors, keeping
from mlpf_jax.report import hepscore, result, summary


def deliver(finished: result.RunResult, extra_arguments: str, folder: Path) -> list[str]:
    """Writes the report into `folder` and shows the summary.

    A report that cannot be written there goes to a temporary folder; if that fails, too, it is
    printed. Returns what went wrong, a line each.
    """
    document = hepscore.report(finished, extra_arguments)
    problems, kept = [], None
    try:
        path, kept = hepscore.write(document, folder)
    except (OSError, TypeError, ValueError) as error:  # no space, or it is not as its schema says
        path = keeping.write_elsewhere(hepscore.FILE_NAME, _text(document).encode())
        place = "was printed" if path is None else f"is {path}"
        problems.append(f"--results_dir={folder}: {errors.one_line(error)} The report {place}.")
    try:
        summary.show(finished, str(path or "printed below"), cast(TextIOBase, sys.stdout))
        if not document["app"]["is_validated"]:
            print("the report was not validated: jsonschema is missing")
        if kept is not None:
            print(f"the report that was there before: {kept}")
        if path is None:
            print(_text(document))
        sys.stdout.flush()
    except (OSError, ValueError) as error:  # nobody reads, or cannot read such characters
        problems.append(f"standard output: {errors.one_line(error)} The report is {path}.")
    return problems


def _text(document: dict[str, Any]) -> str:
    """Of a report that may be none: whatever is in it is kept."""
    return json.dumps(document, default=str)


def finish(extras: Mapping[str, Callable[[], Any]]) -> list[str]:
    """Does what is left to do, each for itself; returns what went wrong, a line each."""
    problems = []
    for flag, write in extras.items():
        try:
            write()
        except Exception as error:  # noqa: BLE001 - whatever it is, the report is whole
            reason = errors.one_line(error)[:200]
            problems.append(f"--{flag}: could not be written; the report is whole. ({reason})")
    return problems
