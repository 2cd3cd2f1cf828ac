"""Files are grouped into runs; damaged or hostile files are refused or shown safely."""

import copy
import json
import os
import pathlib

import pytest

from mlpf_jax.compare import history, history_tables, ratio_tables, ratios, runs, talk
from mlpf_jax.render import tables
from mlpf_jax.report import fields
from tests.report import documents

STATS = "report/wl-stats"
PHASE = f"{STATS}/phases/training"
PRICE = {"price_per_hour": 1.0, "currency": None}
PROCESS = {"process_id": 0, "host": "a", "num_devices": 1, "step_s": {}, "doubts": []}
SOURCE = {"description": [], "refused": {}}


def test_named_files_stay_apart_even_if_they_are_repetitions(tmp_path):
    paths = [documents.write(tmp_path / name) for name in ("a.json", "b.json")]

    assert [len(group.reports) for group in runs.read_groups(paths)] == [1, 1]


def test_a_folder_of_repetitions_is_one_group_in_order_of_time(tmp_path):
    for name, hour in (("a.json", 12), ("b.json", 11)):
        started = f"2022-09-20T{hour}:00:00+00:00"
        documents.write(tmp_path / name, changes={f"{STATS}/started_at": started})

    (group,) = runs.read_groups([tmp_path])

    assert group.name == f"{tmp_path / 'b.json'} and 1 like it"
    assert [report.source for report in group.reports] == [
        str(tmp_path / name) for name in ("b.json", "a.json")
    ]


def test_other_files_of_a_folder_are_skipped_and_named(tmp_path):
    (tmp_path / "b.json").write_text('{"format": "mlpf_jax scaling study", "studies": {}}')
    (tmp_path / "list.json").write_text("[]")
    told = []

    with pytest.raises(ValueError, match="no report of a run in this folder"):
        runs.read_all([tmp_path])
    documents.write(tmp_path / "a.json")
    assert len(runs.read_all([tmp_path], tell=told.append)) == 1
    assert told == [runs.skipped(tmp_path / name) for name in ("b.json", "list.json")]
    with pytest.raises(ValueError, match="not a HEPscore report"):
        runs.read_all([tmp_path / "b.json"])


def test_a_damaged_file_of_a_folder_is_not_skipped(tmp_path):
    path = documents.write(tmp_path / "a.json")
    path.write_text(path.read_text()[:100])

    with pytest.raises(ValueError, match=str(path)):
        runs.read_all([tmp_path])


def test_a_folder_of_several_kinds_is_a_group_for_each(tmp_path):
    documents.write(tmp_path / "a.json")
    documents.write(tmp_path / "b.json", changes={"app/environment/versions/jax": "9"})
    documents.write(tmp_path / "c.json")

    assert [len(group.reports) for group in runs.read_groups([tmp_path])] == [2, 1]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({f"{PHASE}/memory_per_device": {}}, "total_bytes"),
        ({f"{PHASE}/memory_per_device/total_bytes": "1 GB"}, "total_bytes"),
        ({f"{PHASE}/num_unsteady_samples": 7}, "no steady-state sample of training"),
        ({f"{PHASE}/sample_events": [0] * 7}, "sample_events"),
        ({f"{PHASE}/sample_steps": [1]}, "zip"),
        ({f"{PHASE}/flops_per_s": 10**400}, "flops_per_s"),
        ({f"{PHASE}/share_of_peak": {}}, "share"),
        ({f"{STATS}/mean_epoch_time": 1e31}, "mean_epoch_time"),
        ({f"{STATS}/val_accuracy": ["high"]}, "val_accuracy"),
        ({f"{STATS}/val_loss": [10**400]}, "val_loss"),
        ({f"{STATS}/cost": {**PRICE, "training": "1"}}, "cost/training"),
        ({f"{STATS}/processes": [PROCESS] * 2}, "params_sha256"),
        ({f"{STATS}/telemetry": {"absent": {}, "sources": {"GPU": SOURCE}}}, "description"),
        ({f"{STATS}/batch_size_total": "16"}, "batch_size_total"),
        ({"run_info/config/model": [1]}, "model"),
        ({"app/environment/versions/jax": {"a": 1}}, "versions/jax"),
    ],
)
def test_unusable_numbers_in_a_report_are_refused_in_one_line(tmp_path, changes, words):
    path = documents.write(tmp_path / "odd.json", changes=changes)

    with pytest.raises(ValueError, match=words) as caught:
        runs.read(path)

    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)


def test_a_number_beyond_all_numbers_is_refused(tmp_path):
    path = documents.write(tmp_path / "odd.json")
    path.write_text(path.read_text().replace('"mean_epoch_time": 10.0', '"mean_epoch_time": 1e999'))

    with pytest.raises(ValueError, match="mean_epoch_time"):
        runs.read(path)


HOSTILE = (None, -1, 10**400, 1.5, True, [], {}, "", "x" * 5000, "\x1b[31m[red]|=1<b>\u202e\n@me")


def leaves(place, path=()):
    """Every path in a document, with the lists taken as a whole."""
    if isinstance(place, dict):
        for key, inner in place.items():
            yield from leaves(inner, (*path, key))
    yield path


def show_all(path):
    """Everything that this project shows of a result."""
    plain = documents.report("plain.json")
    groups = [runs.Group(name="plain", reports=(plain,)), *runs.read_groups([path])]
    report = groups[1].first
    views = [
        ratio_tables.view(ratios.compare(groups)),
        ratio_tables.view(ratios.compare(groups[::-1])),
        talk.view([plain, report]),
    ]
    views += [
        history_tables.view(history.series([plain, report], name), name) for name in history.METRICS
    ]
    return "".join(tables.render(view, wanted) for view in views for wanted in tables.FORMATS)


def tried(path, place, value):
    document = documents.document(changes={f"{STATS}/steps_by_epoch": [3]})
    *parents, last = place
    at = document
    for key in parents:
        at = at[key]
    at[last] = copy.deepcopy(value)
    path.write_text(json.dumps(document))
    reason = refusal(path)
    if reason is None:
        shown = show_all(path)
        assert "\x1b" not in shown
        assert "\u202e" not in shown
    else:
        assert reason.startswith(f"{path}: ")
        assert "\n" not in reason


def refusal(path):
    try:
        runs.read(path)
        history.started_at(runs.read(path))
    except ValueError as error:
        return str(error)
    return None


PLACES = sorted({path for path in leaves(documents.document()) if path})


@pytest.mark.parametrize("part", range(0, 8, 4))  # the others are for the long lane, below
def test_a_hostile_value_is_refused_with_the_file_or_shown_safely(tmp_path, part):
    for number in range(part, len(PLACES), 8):
        tried(tmp_path / "odd.json", PLACES[number], HOSTILE[number // 8 % len(HOSTILE)])


@pytest.mark.slow
@pytest.mark.parametrize("value", HOSTILE, ids=lambda value: repr(value)[:12])
def test_every_hostile_value_everywhere_is_refused_or_shown_safely(tmp_path, value):
    for place in PLACES:
        tried(tmp_path / "odd.json", place, value)


def test_a_file_that_is_too_large_for_a_report_is_not_read(tmp_path, monkeypatch):
    """It is told when the reports are read."""
    path = tmp_path / "large.json"
    path.touch()
    os.truncate(path, fields.MOST_BYTES + 1)
    monkeypatch.setattr(pathlib.Path, "read_bytes", None)

    assert runs.is_report(path)
