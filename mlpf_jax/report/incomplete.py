"""The report of a run that did not end: what it had done, and why it stopped.

It has a file name of its own and no scores, so nothing can take it for a result.
"""

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mlpf_jax import atomic
from mlpf_jax import config as config_lib
from mlpf_jax.measure import records
from mlpf_jax.report.fields import (
    ANY,
    NONNEGATIVE,
    SIZE,
    TEXT,
    Field,
    Kind,
    Record,
    keyed,
    listed,
    maybe,
    written,
)

FILE_NAME = "mlpf-jax_incomplete.json"


@dataclasses.dataclass(frozen=True, kw_only=True)
class IncompleteRun:
    """A run until its early end. None: it had not come that far."""

    reason: str
    phase: str
    started_at: str  # ISO 8601, UTC
    stopped_at: str
    arguments: str
    checkpoint_step: int | None
    config: config_lib.RunConfig | None
    environment: Mapping[str, Any] | None
    num_steps: int
    epoch_times: tuple[float, ...]
    sample_s: tuple[float, ...]
    sample_events: tuple[int, ...]
    segments: tuple[records.Segment, ...]


class Incomplete(Record):
    """The fields of the report, written from an `IncompleteRun`."""

    status = Field("", Kind[str]({"const": "incomplete"}), lambda run: "incomplete")
    reason = Field("", TEXT, "reason")
    phase = Field("", TEXT, "phase")
    started_at = Field("", TEXT, "started_at")
    stopped_at = Field("", TEXT, "stopped_at")
    arguments = Field("", TEXT, "arguments")
    checkpoint_step = Field("", maybe(SIZE), "checkpoint_step")
    config = Field("", maybe(keyed(ANY)), "config")
    environment = Field("", maybe(keyed(ANY)), "environment")
    num_steps = Field("", SIZE, "num_steps")
    epoch_times = Field("", listed(NONNEGATIVE), "epoch_times")
    sample_s = Field("", listed(NONNEGATIVE), "sample_s")
    sample_events = Field("", listed(SIZE), "sample_events")
    segments = Field("", listed(keyed(ANY)), "segments")


def write(run: IncompleteRun, folder: Path) -> Path:
    """Writes the report into `folder`, atomically, instead of that of an earlier attempt.

    Raises:
        OSError: if it cannot be written.
    """
    path = folder / FILE_NAME
    folder.mkdir(parents=True, exist_ok=True)
    content = json.dumps(written(Incomplete, run), indent=2, default=str) + "\n"
    atomic.write_file(path, content.encode())
    return path


def remove(folder: Path) -> None:
    """Removes the report of an earlier attempt, because the run is complete now."""
    (folder / FILE_NAME).unlink(missing_ok=True)
