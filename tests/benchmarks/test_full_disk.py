"""The writes of a run are counted."""

import os

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
