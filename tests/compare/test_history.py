"""A store contains every result once and loses none; changes of level are found and explained."""

import json

import pytest

from mlpf_jax.compare import history, history_tables, runs
from mlpf_jax.render import tables
from tests.report import documents

STATS = "report/wl-stats"


def report(day, factor=1.0, **changes):
    started = f"2026-01-{day:02d}T10:00:00+00:00"
    rates = [rate * factor for rate in documents.RATES]
    return documents.report(
        f"{day}.json", training=rates, changes={f"{STATS}/started_at": started, **changes}
    )


def test_a_result_is_kept_under_its_machine_and_start(tmp_path):
    file = documents.write(tmp_path / "a.json")

    (added,) = history.add(tmp_path / "store", [file])

    assert added.is_new
    assert added.path.parent == tmp_path / "store" / documents.report().machine_class
    assert added.path.name.startswith("20220920T000000Z_")
    assert added.path.read_bytes() == file.read_bytes()


def test_adding_twice_changes_nothing(tmp_path):
    file = documents.write(tmp_path / "a.json")
    (first,) = history.add(tmp_path / "store", [file])
    written = first.path.stat().st_mtime_ns

    (second,) = history.add(tmp_path / "store", [file])

    assert (second.path, second.is_new) == (first.path, False)
    assert second.path.stat().st_mtime_ns == written


def test_two_runs_of_one_second_are_both_kept(tmp_path):
    files = [
        documents.write(tmp_path / "a.json"),
        documents.write(tmp_path / "b.json", training=(9.0,) * 7),
    ]

    assert len({added.path for added in history.add(tmp_path / "store", files)}) == 2


def test_existing_results_are_never_overwritten(tmp_path):
    file = documents.write(tmp_path / "a.json")
    (kept,) = history.add(tmp_path / "store", [file])
    kept.path.write_text("damaged")

    with pytest.raises(ValueError, match="its content does not match its name"):
        history.add(tmp_path / "store", [file])

    assert kept.path.read_text() == "damaged"


def test_if_one_file_is_no_result_none_is_added(tmp_path):
    good = documents.write(tmp_path / "a.json")
    bad = tmp_path / "b.json"
    bad.write_text("{}")

    with pytest.raises(ValueError, match=r"b\.json"):
        history.add(tmp_path / "store", [good, bad])

    assert not (tmp_path / "store").exists()


@pytest.mark.parametrize(
    "start", ["../../etc", "yesterday", "", "2026-13-01", "0001-01-01T00:00+09"]
)
def test_a_start_that_is_no_time_is_refused_with_the_file(tmp_path, start):
    file = documents.write(tmp_path / "a.json", changes={f"{STATS}/started_at": start})

    with pytest.raises(ValueError, match="is not a valid time") as caught:
        history.add(tmp_path / "store", [file])

    assert str(caught.value).startswith(str(file))


@pytest.mark.parametrize("name", ["../../../etc/passwd", "x" * 5000, "/", "..", "a\x00b"])
def test_no_name_in_a_result_leads_out_of_the_store(tmp_path, name):
    gpu = [{"device_id": "0", "name": name, "platform": "gpu"}]
    file = documents.write(tmp_path / "a.json", changes={"app/devices": gpu})

    (added,) = history.add(tmp_path / "store", [file])

    assert added.path.parent.parent == tmp_path / "store"
    assert runs.read_all([tmp_path / "store"])[0].source == str(added.path)


def test_a_series_is_of_one_machine_class_and_configuration_in_order_of_time():
    reports = [
        report(2),
        report(1),
        report(3, **{"app/devices": documents.GPU}),
        report(4, **{f"{STATS}/batch_size_per_device": 4}),
    ]

    found = history.series(reports, "training")

    assert [[p.report.source for p in one.points] for one in found if len(one.points) > 1] == [
        ["1.json", "2.json"]
    ]
    assert len(found) == 3


def test_other_compilers_and_code_stay_in_the_series():
    reports = [report(1), report(2, **{"app/environment/versions/jax": "9"})]

    assert len(history.series(reports, "training")) == 1


def test_runs_without_the_metric_are_left_out():
    assert history.series([documents.report(training=None)], "training") == []
    assert len(history.series([documents.report(training=None)], "inference")) == 1


def test_a_change_of_level_is_found_and_explained_by_what_changed():
    before = [report(day) for day in range(1, 13)]
    after = [
        report(day, 0.8, **{"app/environment/versions/jaxlib": "9.9"}) for day in range(13, 25)
    ]

    (series,) = history.series([*after, *before], "training")

    changed = [point for point in series.points if point.change is not None]
    assert [point.report.source for point in changed] == ["13.json"]
    assert changed[0].change == pytest.approx(-0.2)
    assert "jaxlib 0 -> 9.9" in changed[0].explanation


@pytest.mark.parametrize(
    ("day", "is_near"), [(11, False), (12, True), (13, True), (14, True), (15, False)]
)
def test_what_changed_at_a_run_beside_the_first_of_a_level_explains_it(day, is_near):
    """Noise can shift a change by a run."""
    newer = {"app/environment/versions/jaxlib": "9.9"}
    reports = [
        report(number, 0.8 if number >= 13 else 1.0, **(newer if number >= day else {}))
        for number in range(1, 25)
    ]

    (series,) = history.series(reports, "training")

    (explanation,) = [point.explanation for point in series.points if point.change is not None]
    assert ("jaxlib 0 -> 9.9" in explanation) is is_near


def test_a_steady_series_has_no_change():
    steady = [report(day, 1 + 0.01 * (-1) ** day) for day in range(1, 25)]

    (series,) = history.series(steady, "training")

    assert not any(point.change for point in series.points)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("training", "-20.0 %, worse"),
        ("compile_s", "-50.0 %, better"),
        ("epoch_time", "+30.0 %, worse"),
    ],
)
def test_it_says_whether_a_change_is_for_the_better(name, words):
    phases = {
        f"{STATS}/phases/{phase}/{part}": 0.5
        for phase in ("training", "inference")
        for part in ("lower_s", "compile_s")
    }
    phases[f"{STATS}/mean_epoch_time"] = 13.0
    reports = [report(day) for day in range(1, 13)]
    reports += [report(day, 0.8, **phases) for day in range(13, 25)]

    text = tables.render(history_tables.view(history.series(reports, name), name), "markdown")

    assert f"{words}: nothing that is recorded differs" in text
    assert "changes of level: 1" in text


def test_every_metric_has_a_value_of_a_whole_run():
    values = {name: metric.of(documents.report()) for name, metric in history.METRICS.items()}

    assert values == {
        "training": pytest.approx(10.0),
        "inference": pytest.approx(10.0),
        "epoch_time": 10.0,
        "compile_s": 4.0,
        "memory": 1.0,
        "accuracy": 0.9,
    }


def test_a_history_is_shown_in_every_output_format():
    found = history_tables.view(history.series([report(1), report(2, 0.5)], "training"), "training")

    assert "█" * 16 in tables.render(found, "terminal")
    assert tables.render(found, "csv").count("\n") == 3
    assert json.loads(tables.render(found, "json"))["series"][0]["points"][1]["value"] == (
        pytest.approx(5.0)
    )
