"""Reads growth studies: files of this version, and older ones with runs by size."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.growth import axes
from mlpf_jax.study import documents, findings


def read(path: Path) -> findings.Findings:
    """Reads a growth study; laws and tables are computed from its runs.

    Raises:
        ValueError: if it is not one; the message is one line that begins with the path.
        OSError: if it cannot be read.
    """
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        return _findings(document if "format" in document else _converted(document))
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        reason = f"{type(error).__name__}: {error}".splitlines()[0]
        raise ValueError(f"{path}: not a growth study ({reason}).") from None


def _findings(document: Mapping[str, Any]) -> findings.Findings:
    (name,) = document["studies"]
    results = list(documents.recorded(document).values())
    kind = axes.kind(axes.AXES[name.removeprefix("growth-")])
    return findings.Findings(
        provenance=document["provenance"],
        arguments=tuple(document["arguments"]),
        repeats=document["repeats"],
        results=tuple(results),
        series=(findings.series(kind, results),),
    )


def _converted(old: Mapping[str, Any]) -> dict[str, Any]:
    """Converts a document of November 2026 to the current format; its memory is for all devices."""
    axis = axes.AXES[old["axis"]]
    points = {}
    for value in old["values"]:
        found = [run for run in old["runs"] if run["value"] == value]
        points[str(value)] = dict.fromkeys(axis.flags, value) | {
            "failure": old["failures"].get(str(value)),
            "runs": {number: _run(run, number) for number, run in enumerate(found)},
        }
    described = old["environment"]
    machine = f"{described['cpu']}, {described['num_cpu_cores']} cores"
    machine = f"{described['cpu']}, {described['num_cpu_cores']} cores"
    return {
        "studies": {f"growth-{axis.name}": {}},
        "provenance": described | {"machine": machine},
        "arguments": old["plan"]["settings"],
        "repeats": old["plan"]["repeats"],
        "points": points,
    }


def _run(old: Mapping[str, Any], number: int) -> dict[str, Any]:
    by_event = {name: count / old["num_events"] for name, count in old["memory_bytes"].items()}
    return dict(old) | {"file": "", "seed": number + 1, "event_bytes": by_event}
