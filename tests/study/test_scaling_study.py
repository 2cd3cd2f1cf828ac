"""A study runs what is missing, in an order that is fair, and survives what goes wrong."""

import json

import pytest

from mlpf_jax.report import hepscore
from mlpf_jax.stats import scaling_laws as law_lib
from mlpf_jax.study import engine
from tests.study import fake_runs


def sizes(runner):
    return [(int(call["num_devices"]), int(call["batch_size"])) for call in runner.calls]


def by_name(findings):
    return {series.kind.name: series for series in findings.series}


def report_of(out, name, number=0):
    return out / "runs" / name / f"round-{number}" / hepscore.FILE_NAME


def test_rounds_go_over_all_points_there_and_back_with_seeds_of_their_own(tmp_path):
    runner = fake_runs.FakeMain()
    fake_runs.findings(tmp_path, runner, "weak", "strong", repeats=2)

    once = [(1, 2), (1, 8), (2, 2), (2, 4), (4, 2)]  # shared points are run once
    assert sizes(runner) == once + once[::-1]
    assert {call["seed"] for call in runner.calls[:5]} == {"5"}
    assert {call["seed"] for call in runner.calls[5:]} == {"6"}
    assert len({call["results_dir"] for call in runner.calls}) == 10


def test_the_laws_and_the_speeds_of_the_runs_are_found_again(tmp_path):
    runner = fake_runs.FakeMain(serial=0.2, noise=0.001)
    found = by_name(fake_runs.findings(tmp_path, runner, "weak", "strong"))

    fit = found["strong"].fits["training"]
    assert fit.low <= 0.2 <= fit.high
    assert fit.high - fit.low < 0.02
    row = found["strong"].rows[2]
    assert row.rates["inference"].value == pytest.approx(
        300 * law_lib.speedup("Amdahl", 0.2, 4), rel=0.01
    )
    assert row.efficiencies["training"].value == pytest.approx(
        law_lib.speedup("Amdahl", 0.2, 4) / 4, rel=0.01
    )
    assert found["weak"].fits["training"].law == "Gustafson"
    assert found["weak"].is_emulated


def test_accuracy_is_compared_at_the_same_seeds(tmp_path):
    found = fake_runs.findings(tmp_path, fake_runs.FakeMain(), "weak", "strong")

    rows = {row.global_batch_size: row for row in found.batch_rows}
    assert sorted(rows) == [2, 4, 8]
    assert rows[8].accuracy_change.value == pytest.approx(-0.006)
    assert rows[8].accuracy_change.high - rows[8].accuracy_change.low < 1e-9
    assert rows[8].accuracy.high > rows[8].accuracy.low
    assert rows[8].num_devices == (1, 2, 4)
    assert rows[8].spread_over_devices == pytest.approx(0.0)
    assert rows[2].spread_over_devices is None
    assert {row.passes for row in found.batch_rows} == {1.0}


def test_finished_runs_are_kept_and_more_rounds_and_studies_added(tmp_path):
    first = fake_runs.findings(tmp_path, fake_runs.FakeMain(), "weak", repeats=2)
    again, more = fake_runs.FakeMain(), fake_runs.FakeMain()

    assert fake_runs.findings(tmp_path, again, "weak", repeats=2) == first
    assert again.calls == []
    found = fake_runs.findings(tmp_path, more, "weak", "strong", repeats=3)
    assert len(more.calls) == 3 + 2 * 3
    assert found.series[0].rows[0].rates["training"].count == 3


def test_a_study_that_was_interrupted_goes_on(tmp_path):
    class Impatient(fake_runs.FakeMain):
        def __call__(self, arguments, folder):
            if len(self.calls) == 4:
                raise KeyboardInterrupt
            return super().__call__(arguments, folder)

    with pytest.raises(KeyboardInterrupt):
        fake_runs.findings(tmp_path, Impatient(), "weak")
    runner = fake_runs.FakeMain()
    fake_runs.findings(tmp_path, runner, "weak")

    assert len(runner.calls) == 9 - 4


def test_a_failed_point_is_reported_and_the_study_continues(tmp_path):
    failing = fake_runs.FakeMain(failures={(1, 8): fake_runs.OUT_OF_MEMORY})
    found = fake_runs.findings(tmp_path, failing, "batch", repeats=2)

    rows = by_name(found)["batch"].rows
    assert [row.result.failure for row in rows] == [None, None, None, "out of memory on the device"]
    assert rows[3].rates == {}
    assert rows[2].rates["training"].count == 2
    assert sizes(failing).count((1, 8)) == 1
    assert found.num_failed == 1


def test_failed_runs_are_repeated_when_the_study_is_run_again(tmp_path):
    failing = fake_runs.FakeMain(failures={(2, 2): fake_runs.OUT_OF_MEMORY})
    fake_runs.findings(tmp_path, failing, "weak", repeats=1)
    runner = fake_runs.FakeMain()

    found = fake_runs.findings(tmp_path, runner, "weak", repeats=1)

    assert sizes(runner) == [(2, 2)]
    assert found.num_failed == 0


def test_the_speed_up_refers_to_the_first_point_with_runs_and_laws_need_one_device(tmp_path):
    failing = fake_runs.FakeMain(serial=0.0, failures={(1, 2): fake_runs.OUT_OF_MEMORY})
    found = by_name(fake_runs.findings(tmp_path, failing, "weak"))["weak"]

    assert found.reference == 2
    assert found.fits == {}
    assert found.rows[2].efficiencies["training"].value == pytest.approx(1.0)
    assert found.rows[0].efficiencies == {}


def test_wrong_settings_end_the_study_at_its_first_run(tmp_path):
    runner = fake_runs.FakeMain(failures={(1, 2): fake_runs.USAGE})

    with pytest.raises(engine.StudyError, match="only 4 can be used here"):
        fake_runs.findings(tmp_path, runner, "weak")

    assert len(runner.calls) == 1


def test_too_many_devices_only_cost_their_point(tmp_path):
    runner = fake_runs.FakeMain(failures={(4, 2): fake_runs.USAGE})

    assert fake_runs.findings(tmp_path, runner, "weak").num_failed == 1


def test_if_every_run_fails_it_says_why(tmp_path):
    failures = dict.fromkeys([(1, 2), (2, 2), (4, 2)], fake_runs.OUT_OF_MEMORY)

    with pytest.raises(RuntimeError, match="no run succeeded: out of memory"):
        fake_runs.findings(tmp_path, fake_runs.FakeMain(failures=failures), "weak")


def test_a_folder_takes_no_runs_with_other_settings(tmp_path):
    fake_runs.findings(tmp_path, fake_runs.FakeMain(), "weak", repeats=1)
    runner = fake_runs.FakeMain()

    with pytest.raises(engine.StudyError, match="different arguments, which cannot be mixed"):
        fake_runs.findings(tmp_path, runner, "weak", repeats=1, num_train_events=32)
    with pytest.raises(engine.StudyError, match="different seed, "):
        fake_runs.findings(tmp_path, runner, "weak", repeats=1, seed=6)

    assert runner.calls == []


def test_another_machine_whose_cpu_has_the_same_name_is_refused(tmp_path):
    fake_runs.findings(tmp_path, fake_runs.FakeMain(), "weak", repeats=1)
    changed(tmp_path / "plan.json", lambda plan: plan["identity"].update(family="another"))

    with pytest.raises(engine.StudyError, match="contains runs with different identity, "):
        fake_runs.findings(tmp_path, fake_runs.FakeMain(), "weak", repeats=1)


@pytest.mark.parametrize("text", ["", "[]", "{}"])
def test_a_folder_of_something_else_is_refused(tmp_path, text):
    (tmp_path / "plan.json").write_text(text)

    with pytest.raises(engine.StudyError, match="not the plan of a study"):
        fake_runs.findings(tmp_path, fake_runs.FakeMain(), "weak")


def changed(path, edit):
    document = json.loads(path.read_text())
    edit(document)
    path.write_text(json.dumps(document))


@pytest.mark.parametrize(
    ("edit", "reason"),
    [
        (lambda d: d["app"]["environment"].update(cpu="another"), "cpu is another, in the other"),
        (
            lambda d: d["app"]["environment"].update(
                surroundings={"identity": {"vendor": "AuthenticAMD", "family": "26", "model": "2"}}
            ),
            "identity is ",
        ),
        (lambda d: d["app"].update(bmk_checksum="0" * 32), "package_md5"),
        (lambda d: d["run_info"].update(num_devices=3), "not a run of this point"),
        (lambda d: d.pop("report"), "not a HEPscore report"),
    ],
)
def test_reports_that_do_not_belong_are_named(tmp_path, edit, reason):
    fake_runs.findings(tmp_path, fake_runs.FakeMain(), "weak", repeats=1)
    path = report_of(tmp_path, "num_devices-2_batch_size-2")
    changed(path, edit)

    with pytest.raises(ValueError, match=reason) as caught:
        fake_runs.findings(tmp_path, fake_runs.FakeMain(), "weak", repeats=1)

    assert str(caught.value).startswith(str(path))


def test_the_steps_of_all_epochs_make_the_passes(tmp_path):
    found = fake_runs.findings(tmp_path, fake_runs.FakeMain(), "data", repeats=1)

    runs = [row.result.runs[0] for row in by_name(found)["data"].rows]
    assert [run.num_updates for run in runs] == [8] * 4
    assert [run.passes for run in runs] == [8.0, 4.0, 2.0, 1.0]
