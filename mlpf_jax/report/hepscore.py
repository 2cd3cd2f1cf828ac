"""Writes a run's result as HEPscore's workload report, as declared by `report.model`."""

import dataclasses
import json
from pathlib import Path
from typing import Any, NamedTuple

from mlpf_jax import atomic
from mlpf_jax.report import fields, model
from mlpf_jax.report import result as result_lib
from mlpf_jax.report.schema import validate

FILE_NAME = "mlpf-jax_summary.json"
UNSCORED_FILE_NAME = "mlpf-jax_noscore.json"  # not to be taken for a result by hep-score
COPY_FILE_NAME = "report.json"  # of one copy of a workload, not to be taken for that of all


def report(result: result_lib.RunResult, extra_arguments: str) -> dict[str, Any]:
    """Returns the whole report, ready for JSON. `extra_arguments` is the command line as given."""
    return fields.written(
        model.Report, dataclasses.replace(result, extra_arguments=extra_arguments)
    )


class Written(NamedTuple):
    """The path of a report, and the new path of the previous report, if there was one."""

    path: Path
    kept: Path | None


def write(document: dict[str, Any], folder: Path) -> Written:
    """Writes the report into `folder` atomically.

    It is validated first, unless `is_validated` is false because there is no validator. The report
    of a run without a score gets another name: it is not HEPscore's. A report that would be too
    large to be read is written without indentation.

    Raises:
        ValueError: if it does not match its schema, or is too large to be read.
        OSError: if it cannot be written.
    """
    has_score = "no_score" not in document.get("report", {}).get("wl-stats", {})
    if has_score and document.get("app", {}).get("is_validated", True):
        validate(document)
    path = folder / (FILE_NAME if has_score else UNSCORED_FILE_NAME)
    folder.mkdir(parents=True, exist_ok=True)
    return Written(path, atomic.write_new(path, _content(document)))


def _content(document: dict[str, Any]) -> bytes:
    for indent in (2, None):
        content = (json.dumps(document, indent=indent, allow_nan=False) + "\n").encode()
        if len(content) <= fields.MOST_BYTES:
            return content
    raise ValueError(
        f"the report is larger than {fields.MOST_BYTES} bytes, which no program here reads."
    )
