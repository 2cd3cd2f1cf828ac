"""Summaries get the score that hep-score 1.5 gave for the same files, or the reason for none."""

import json
import os
from pathlib import Path

import pytest

from mlpf_jax.report import fields, replay

REFERENCES = {"training": 50.0, "inference": 300.0}


def write(tmp_path, scores, name="a.json", **changes):
    document = {"app": {}, "run_info": {}, "report": {"wl-scores": scores}} | changes
    path = tmp_path / name
    path.write_text(json.dumps({k: v for k, v in document.items() if v is not None}))
    return path


def read(*args, **changes):
    return replay.read(write(*args, **changes), REFERENCES)


@pytest.mark.parametrize(
    ("training", "final"),
    [
        ([100.4], 2.0709),
        ([100.4, 90.0, 110.0], 2.0709),
        ([100.4, 90.0], 2.0158),  # the mean of the middle two
        (["100.4"], 2.0709),  # text is taken
    ],
)
def test_the_score_is_the_median_of_geometric_means_over_the_references(tmp_path, training, final):
    runs = [read(tmp_path, {"training": score, "inference": 640.7}) for score in training]

    assert replay.final(runs, len(runs)) == final
    assert replay.final(runs, len(runs), scaling=2.0) == pytest.approx(2 * final, abs=2e-4)


@pytest.mark.parametrize(
    ("scores", "changes", "state", "reason"),
    [
        ({"training": 1.0}, {}, "skipped", "has no score inference"),
        ({}, {"app": None}, "skipped", "has no key app"),
        ({}, {"report": []}, "skipped", "has no key report/wl-scores"),
        ({"training": {"median": 1}, "inference": 1}, {}, "crashes", "TypeError"),
        ({"training": None, "inference": 1}, {}, "crashes", "TypeError"),
        ({"training": "fast", "inference": 1}, {}, "crashes", "ValueError"),
        ({"training": 10**400, "inference": 1}, {}, "crashes", "OverflowError"),
        ({"training": 0.0, "inference": 1}, {}, "meaningless", "training is not a positive"),
        ({"training": 1e-9, "inference": 1}, {}, "meaningless", "training is not a positive"),
        ({"training": -1.0, "inference": 1}, {}, "meaningless", "training is not a positive"),
        ({"training": 1.0, "inference": float("nan")}, {}, "meaningless", "inference is not"),
        ({"training": 1.0, "inference": "inf"}, {}, "meaningless", "inference is not"),
        ({"training": 1e200, "inference": 1e200}, {}, "meaningless", "the score is not finite"),
    ],
)
def test_a_wrong_file_is_told_apart(tmp_path, scores, changes, state, reason):
    run = read(tmp_path, scores, **changes)

    assert run.state == state
    assert reason in run.reason


@pytest.mark.parametrize(
    ("content", "state", "reason"),
    [
        (None, "skipped", "No such file"),
        (b"", "skipped", "is not JSON"),
        (b'{"app": 1', "skipped", "is not JSON"),
        (b"[]", "crashes", "AttributeError"),
        (b'{"app": "\xff"}', "crashes", "UnicodeDecodeError"),
        (b"[" * 100_000, "crashes", "RecursionError"),
    ],
)
def test_a_file_that_is_no_report_is_told_apart(tmp_path, content, state, reason):
    path = tmp_path / "a.json"
    if content is not None:
        path.write_bytes(content)

    run = replay.read(path, REFERENCES)

    assert run.state == state
    assert reason in run.reason


@pytest.mark.parametrize(
    ("number", "repetitions", "reason"),
    [(4, 3, "expected 3 scores, got 4"), (2, 3, "expected 3 scores, got 2")],
)
def test_a_file_too_many_gives_no_score(tmp_path, number, repetitions, reason):
    runs = [read(tmp_path, {"training": 1.0, "inference": 1.0})] * number

    with pytest.raises(ValueError, match=reason):
        replay.final(runs, repetitions)


def test_a_file_that_is_skipped_or_crashes_gives_no_score(tmp_path):
    good = read(tmp_path, {"training": 1.0, "inference": 1.0})
    with pytest.raises(ValueError, match="expected 2 scores, got 1"):
        replay.final([good, read(tmp_path, {})], 2)
    with pytest.raises(ValueError, match="TypeError"):
        replay.final([good, read(tmp_path, {"training": [], "inference": 1})], 2)


def test_a_file_that_could_fill_the_memory_is_not_read(tmp_path):
    path = tmp_path / "a.json"
    path.touch()
    os.truncate(path, fields.MOST_BYTES + 1)

    assert replay.read(path, REFERENCES).state == "meaningless"
    assert replay.read(Path("/dev/zero"), REFERENCES).reason == "is not a regular file"
