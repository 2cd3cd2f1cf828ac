"""The writes of a run are counted."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import full_disk


def test_what_python_writes_is_told_by_its_audit_events():
    events = [
        ("open", ("a", "w", os.O_WRONLY | os.O_CREAT)),
        ("open", ("a", "r", os.O_RDONLY)),
        ("open", (3, "w", os.O_WRONLY)),
        ("os.mkdir", ("b", 0o777, -1)),
        ("os.rename", ("b", "c", -1, -1)),
        ("os.listdir", ("c",)),
    ]
    written = [full_disk._written(event, words) for event, words in events]

    assert written == ["a", None, None, "b", "c", None]


@pytest.mark.slow
def test_a_quota_that_ends_at_some_writes_is_told_and_gives_no_wrong_report():
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.full_disk", "--fault=quota", "--every=30"],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    assert "writes: 0 with a problem" in done.stdout
