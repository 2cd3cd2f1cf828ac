"""What a page is made of: runs in groups, and scaling studies, from files and folders."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

from mlpf_jax.compare import runs
from mlpf_jax.report import copies, reader
from mlpf_jax.study import documents


@dataclasses.dataclass(frozen=True, kw_only=True)
class Inputs:
    """All that was named, in that order."""

    groups: tuple[runs.Group, ...]
    scaling_files: tuple[documents.ScalingFile, ...]
    copies_note: str | None = None  # of files that repeat a run, which counts once


def read(paths: Sequence[Path]) -> Inputs:
    """Reads results and studies; of a folder, runs that differ in nothing known are one group.

    Raises:
        ValueError: if a file is neither; one line that begins with its path.
        OSError: if it cannot be read.
    """
    groups, found, seen = [], [], copies.Seen()
    for path in paths:
        reports = []
        for file in reader.find([path]):
            study = documents.read(file)
            if study is not None:
                found.append(study)
            else:
                reports.append(runs.read(file))
        groups += runs.group(seen.new(reports))
    return Inputs(groups=tuple(groups), scaling_files=tuple(found), copies_note=seen.note)
