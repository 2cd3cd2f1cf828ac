"""Reads the contents of a page: groups of runs, and studies, from files and folders."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

from mlpf_jax.compare import runs
from mlpf_jax.report import copies, reader
from mlpf_jax.study import documents


@dataclasses.dataclass(frozen=True, kw_only=True)
class Inputs:
    """All inputs in the given order."""

    groups: tuple[runs.Group, ...]
    studies: tuple[documents.StudyFile, ...]
    copies_note: str | None = None  # about files that repeat a run, which counts once


def read(paths: Sequence[Path], tell: runs.Tell = lambda line: None) -> Inputs:
    """Reads results and studies; runs of a folder without known differences form one group.

    `tell` is called with a line for each file of a folder that is neither.

    Raises:
        ValueError: if a given file is neither, or a file is damaged; the message begins with its
            path.
        OSError: if it cannot be read.
    """
    groups, found, seen = [], [], copies.Seen()
    for path in paths:
        reports = []
        for file in reader.find([path]):
            study = documents.read(file)
            if study is not None:
                found.append(study)
            elif path.is_dir() and not runs.is_report(file):
                tell(runs.skipped(file))
            else:
                reports.append(runs.read(file))
        groups += runs.group(seen.new(reports))
    if not groups and not found:
        raise ValueError(f"{paths[0]}: this folder contains no report of a run and no study.")
    return Inputs(groups=tuple(groups), studies=tuple(found), copies_note=seen.note)
