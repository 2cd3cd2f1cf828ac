"""From the reports of the copies to the one that HEPscore reads, or the reason why there is none.

A run that failed must leave no complete summary: hep-score counts the files, so one left by a
failed run would spoil its repetition.
"""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mlpf_jax.report import hepscore, quality, reader, summary, summing
from mlpf_jax.stats import summaries
from mlpf_jax.workload import together


def combine(
    folders: Sequence[Path], spans: Sequence[Mapping[str, together.Span]]
) -> dict[str, Any]:
    """Returns the summed report of the copies, each with its report in a folder.

    Raises:
        ValueError: if a report is missing or not valid, a score is not positive, or an accuracy
            lies outside its window.
        OSError: if one cannot be read.
    """
    parts, checks = [], []
    for folder, of_copy in zip(folders, spans, strict=True):
        report = reader.read(folder / hepscore.COPY_FILE_NAME)
        checks.append(quality.check(report))
        if checks[-1]["pass"] is False:
            raise ValueError(f"{folder.name}: {_told(checks[-1])}: there is no result.")
        seconds = {name: (one.start_ns / 1e9, one.end_ns / 1e9) for name, one in of_copy.items()}
        parts.append(summing.Part(report.document, seconds))
    summed = summing.add(parts)
    summed["report"]["wl-stats"]["quality"] = checks[0]
    for name, score in summed["report"]["wl-scores"].items():
        if not (math.isfinite(score) and score > 0):
            raise ValueError(f"the score {name} is {score}: there is no result.")
    return summed


def clear(folder: Path) -> None:
    """Removes the report that a copy of an earlier run has left, so that it counts for no other."""
    for name in (hepscore.FILE_NAME, hepscore.COPY_FILE_NAME):
        (folder / name).unlink(missing_ok=True)


def put_aside(folder: Path) -> None:
    """Renames the report of a copy, so that it is not taken for that of the workload."""
    path = folder / hepscore.FILE_NAME
    if path.exists():
        path.replace(folder / hepscore.COPY_FILE_NAME)


def lines(document: Mapping[str, Any]) -> list[str]:
    """Returns the result, one line each."""
    stats = document["report"]["wl-stats"]
    found = []
    for name, score in document["report"]["wl-scores"].items():
        each = ", ".join(f"{one['scores'][name]:.4g}" for one in stats["copies"])
        interval = summary.interval(summaries.Summary(**stats[name]))
        found.append(f"{name}: {score:.4g} events/s, {interval}; by copy: {each}")
    offsets = [
        f"{name} {max(c['phases'][name]['start_offset_s'] for c in stats['copies']) * 1e3:.1f} ms"
        for name in stats["phases"]
    ]
    found.append(f"last start after the first: {', '.join(offsets)}")
    found.append(_told(stats["quality"]))
    found.append(f"digests: losses {stats['loss_sha256'][:12]}")
    if stats.get("doubts"):
        found.append(f"warning: unreliable measurement: {'; '.join(stats['doubts'])}")
    return found


def _told(check: Mapping[str, Any]) -> str:
    if "val_accuracy" not in check:
        return f"accuracy not checked: {check['reason']}"
    accuracy = f"accuracy {check['val_accuracy']:.4f}"
    if check["pass"] is None:
        return f"{accuracy}, not checked: {check['reason']}"
    place = "in" if check["pass"] else "outside"
    return f"{accuracy}, {place} its window {check['lower']:.4f} to {check['upper']:.4f}"
