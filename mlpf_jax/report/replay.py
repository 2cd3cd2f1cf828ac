"""Replays how hep-score reads the summaries of a workload, to find out whether it gives a score.

Source: `HEPscore._proc_results`, `gen_score` and `weighted_geometric_mean` of hep-score 1.5.
"""

import dataclasses
import json
import math
import stat
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from mlpf_jax.report import fields

_DIGITS = 4  # to which hep-score rounds in every step
_PARTS = ("app", "run_info", "report")
_SCORES = "wl-scores"
# What hep-score does not expect of a file.
_CRASHES = (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError)


@dataclasses.dataclass(frozen=True)
class Run:
    """What hep-score makes of the file of one repetition."""

    source: Path
    # counted: it gives a score. skipped: hep-score logs an error and goes on without it. crashes:
    # hep-score ends with a traceback. meaningless: hep-score counts it, but should not.
    state: Literal["counted", "skipped", "crashes", "meaningless"]
    reason: str = ""  # unless it is counted
    ratios: Mapping[str, float] = dataclasses.field(default_factory=dict)  # score over reference
    score: float = math.nan  # geometric mean of the ratios


class _SkippedError(Exception):
    pass


class _TooLargeError(Exception):
    pass


def read(path: Path, references: Mapping[str, float]) -> Run:
    """Reads the summary of one repetition; `references` are the scores of the reference machine."""
    try:
        ratios = _ratios(_document(path), references)
    except _SkippedError as error:
        return Run(path, "skipped", str(error))
    except _TooLargeError as error:
        return Run(path, "meaningless", str(error))
    except _CRASHES as error:
        return Run(path, "crashes", f"{type(error).__name__}: {error}")
    for name, ratio in ratios.items():
        if not (math.isfinite(ratio) and ratio > 0):
            return Run(path, "meaningless", f"the score {name} is not a positive number", ratios)
    score = round(math.prod(ratios.values()) ** (1 / len(ratios)), _DIGITS)
    if not math.isfinite(score):  # as is a product of large ratios
        return Run(path, "meaningless", "the score is not finite", ratios)
    return Run(path, "counted", "", ratios, score)


def final(runs: Sequence[Run], repetitions: int, scaling: float = 1.0) -> float:
    """Returns the score that hep-score gives for these repetitions of the only workload.

    Raises:
        ValueError: if it gives none, or one that means nothing.
    """
    for run in runs:
        if run.state in ("crashes", "meaningless"):
            raise ValueError(f"{run.source}: {run.reason}")
    counted = [run.score for run in runs if run.state == "counted"]
    if len(counted) != repetitions:
        raise ValueError(f"expected {repetitions} scores, got {len(counted)}")
    return round(statistics.median(counted) * scaling, _DIGITS)


def _document(path: Path) -> Any:
    try:
        _check_file(path)
        return json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise _SkippedError(f"cannot be read: {error.strerror}") from None
    except json.JSONDecodeError as error:
        raise _SkippedError(f"is not JSON: {error.msg} in line {error.lineno}") from None


def _check_file(path: Path) -> None:
    found = path.stat()
    if not stat.S_ISREG(found.st_mode):
        raise _SkippedError("is not a regular file")
    if found.st_size > fields.MOST_BYTES:
        raise _TooLargeError(f"has more than {fields.MOST_BYTES} bytes, and was not read")


def _ratios(document: Any, references: Mapping[str, float]) -> dict[str, float]:
    keys = document.keys()
    for part in _PARTS:
        if part not in keys:
            raise _SkippedError(f"has no key {part}")
    report = document["report"]
    if not isinstance(report, dict) or _SCORES not in report:
        raise _SkippedError(f"has no key report/{_SCORES}")
    missing = [name for name in references if name not in report[_SCORES]]
    if missing:
        raise _SkippedError(f"has no score {', '.join(missing)}")
    return {
        name: round(float(report[_SCORES][name]) / reference, _DIGITS)
        for name, reference in references.items()
    }
