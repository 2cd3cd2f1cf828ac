"""Whole comparisons of a repository whose runs take no time."""

import contextlib
import errno
import functools
import json
import os
import re
import sys
from pathlib import Path
from unittest import mock

import pytest

from mlpf_jax import processes
from mlpf_jax.regress import baseline, documents, pairing, resolution, session, sources
from mlpf_jax.report import copies
from mlpf_jax.sides import driver
from mlpf_jax.stats import sequential
from tests import fake_benchmark
from tests.report import documents as report_documents

PYTHON = Path(sys.executable)


@pytest.fixture
def repository(started_repository, monkeypatch):
    """Returns a function that makes a repository; its runs take place in this process."""
    monkeypatch.setattr(processes, "run", fake_benchmark.run_here)
    return started_repository


@pytest.fixture
def started_repository(tmp_path, monkeypatch):
    """Returns a function that makes a repository; its runs are processes, as they are for users."""

    def make(*costs, **options):
        folder = fake_benchmark.make(tmp_path / "repository", *costs, **options)
        monkeypatch.chdir(folder)
        return folder

    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setattr(sequential, "_SIMULATIONS", 10)  # of the resolution
    monkeypatch.setattr("tempfile.tempdir", str(temporary))
    return make


@pytest.fixture
def live_repository(repository, monkeypatch):
    """Returns a function that makes a repository whose commits can be sides, in this process."""

    @contextlib.contextmanager
    def starting(side):
        yield lambda: fake_benchmark.Live(side)

    monkeypatch.setattr(driver, "starting", starting)
    return functools.partial(repository, serves=True)


def request(**changes):
    settings = {"base_python": PYTHON, "head_python": PYTHON, "preset": Path("preset.cfg")}
    return session.Request(**settings | changes)


def compare(**changes):
    outcome = session.compare(request(**changes), lambda _: None)
    return documents.document(outcome)


def verdicts(found):
    return {measure["name"]: measure["verdict"] for measure in found["measures"]}


def test_a_slower_commit_is_caught_and_named(started_repository):
    folder = started_repository({}, {"training": 1.1}, serves=True)

    found = compare(base="HEAD~1")

    assert found["exit_status"] == 1
    assert verdicts(found)["training"] == "regression"
    assert "regression" not in {v for name, v in verdicts(found).items() if name != "training"}
    assert found["sides"]["A"]["label"] == fake_benchmark.git(folder, "rev-parse", "HEAD~1")[:12]
    training = next(one for one in found["measures"] if one["name"] == "training")
    assert (training["num_first_pairs"], training["num_confirming_pairs"]) == (6, 4)
    assert 1.08 < training["ratio"]["low"] <= training["ratio"]["high"] < 1.12


def test_the_same_commit_twice_is_no_regression(repository):
    repository({})

    found = compare(base="HEAD")

    assert found["exit_status"] == 0
    assert set(verdicts(found).values()) == {"no regression"}
    assert len(found["runs"]) == 12
    order = "".join(run["side"] for run in found["runs"])
    assert order.count("A") == order.count("B") == 6


@pytest.mark.parametrize(("free_bytes", "at_once"), [(4500, True), (4300, False)])
def test_sides_start_at_once_when_no_compilation_is_timed_and_both_have_room(
    live_repository, monkeypatch, free_bytes, at_once
):
    """Either may need as much as the larger one, and a tenth more."""
    said = []

    @contextlib.contextmanager
    def starting(side):
        said.append("start")

        def wait():
            said.append("wait")
            return fake_benchmark.Live(side)

        yield wait

    live_repository({"noise": 0.02, "memory": 2000}, {"memory": 1000})
    monkeypatch.setattr(driver, "starting", starting)
    monkeypatch.setattr(pairing.slot, "free_memory_bytes", lambda: free_bytes)

    compare(base="HEAD~1")

    one_by_one, together = ["start", "wait"] * 2, ["start", "start", "wait", "wait"]
    assert said[:8] == one_by_one * 2
    assert said[8:] == (together if at_once else one_by_one) * 4


def test_a_side_may_wait_for_a_long_run_of_the_other_one(live_repository, monkeypatch):
    said = []

    @contextlib.contextmanager
    def starting(side):
        said.append("--hang_limit=0" in side.command)
        yield lambda: fake_benchmark.Live(side)

    live_repository({})
    monkeypatch.setattr(driver, "starting", starting)

    compare(base="HEAD")

    assert set(said) == {True}


def test_sides_that_can_be_alive_together_run_windows_in_turns(live_repository):
    live_repository({"noise": 0.02})

    found = compare(base="HEAD")

    assert found["exit_status"] == 0
    assert "ran 768 windows in turns. Other programs disturbed 100 % of them." in found["notes"][0]
    assert [len(phase["A"]) for phase in found["windows"][0].values()] == [32, 32]
    training = next(one for one in found["measures"] if one["name"] == "training")
    assert training["a"]["value"] == pytest.approx(1.0, rel=0.01)
    assert training["noise"] < 0.01, "each pair is the median of 32"
    assert training["recorded_noise"] == 0


def test_injected_work_is_found_in_both_phases_and_nowhere_else(live_repository):
    live_repository({})

    found = compare(base="HEAD", inject=0.15)

    slower = {name for name, verdict in verdicts(found).items() if verdict == "regression"}
    assert slower == {"training", "inference"}
    assert found["measures"][0]["ratio"]["value"] == pytest.approx(1.15, rel=0.01)


def test_sides_whose_memory_does_not_fit_are_compared_by_whole_runs(live_repository, monkeypatch):
    monkeypatch.setattr(pairing.slot, "free_memory_bytes", lambda: 1024)
    live_repository({}, {"training": 1.2})

    found = compare(base="HEAD~1")

    assert verdicts(found)["training"] == "regression"
    assert found["notes"][0].startswith("Whole runs were compared, not windows in turns: the next")
    assert found["resolution"] == {}


def test_extra_work_that_whole_runs_would_not_do_is_refused(live_repository, monkeypatch):
    monkeypatch.setattr(pairing.slot, "free_memory_bytes", lambda: 1024)
    live_repository({})

    with pytest.raises(ValueError, match="a whole run cannot be slowed down: omit --inject"):
        compare(base="HEAD", inject=0.15)


def test_sides_of_other_batches_are_compared_by_whole_runs(live_repository):
    live_repository({}, {"events_per_step": 2})

    found = compare(base="HEAD~1")

    assert found["notes"][0].endswith("their steps take different numbers of events.")
    assert found["exit_status"] == 0


def test_a_base_that_cannot_be_a_side_is_compared_by_whole_runs(live_repository):
    folder = live_repository({})
    (folder / "mlpf_jax" / "sides" / "member.py").unlink()
    fake_benchmark.git(folder, "commit", "--quiet", "--all", "--message=x")
    fake_benchmark.git(folder, "revert", "--no-edit", "HEAD")

    outcome = session.compare(request(base="HEAD~1"), lambda _: None)

    found = documents.document(outcome)
    commit = fake_benchmark.git(folder, "rev-parse", "HEAD~1")[:12]
    assert f"{commit} is older than the comparison in turns" in found["notes"][0]
    assert found["windows"] == [{}] * 6
    reports = [*outcome.a.reports, *outcome.b.reports]
    assert {report.environment["runtime"]["cache"] for report in reports} == {False}


def test_the_resolution_is_that_of_b_against_itself(live_repository):
    live_repository({"noise": 0.1})

    found = compare(resolve=True, max_pairs=4)

    assert found["stopped"] == "out of pairs"
    assert found["sides"]["A"] == found["sides"]["B"]
    assert found["resolution"]["pairs_in_ten_minutes"] == sequential.MOST_PAIRS
    for name in ("training", "inference"):
        smallest = found["resolution"]["smallest"][name]
        assert 0 < smallest < 0.1
    line = resolution.line(found["resolution"])
    assert "would find with 95 % here and now" in line


@pytest.mark.parametrize(("program", "num_measured"), [("0", 2), ("1", 6)])
def test_the_same_programs_are_compiled_in_the_first_pairs_only(
    live_repository, program, num_measured
):
    live_repository({}, {"program": program})

    outcome = session.compare(request(base="HEAD~1"), lambda _: None)

    assert outcome.verdict == "no regression"
    for side in (outcome.a, outcome.b):
        assert {report.environment["runtime"]["cache"] for report in side.reports} == {True}
        measured = [report.compile_s is not None for report in side.reports]
        assert measured == [True] * num_measured + [False] * (6 - num_measured)


@pytest.mark.parametrize("program", ["0", "1"])
def test_a_longer_compilation_is_caught_with_another_program_and_with_the_same(
    live_repository, program
):
    live_repository({}, {"compile": 8.0, "program": program})

    found = compare(base="HEAD~1")

    assert verdicts(found)["compile"] == "regression"


def test_noise_of_the_compiler_decides_nothing_where_the_programs_are_the_same(repository):
    repository({"noise": 0.04})

    found = compare(base="HEAD")

    compiled = next(one for one in found["measures"] if one["name"] == "compile")
    assert compiled["noise"] < 1e-6
    assert compiled["verdict"] == "no regression"
    assert "only lowering" in compiled["reason"]


def test_no_side_is_told_of_a_cache_by_a_variable(tmp_path):
    program = sources.Program("x", tmp_path, PYTHON, ())

    environ = program.environ({"JAX_COMPILATION_CACHE_DIR": "x", "HOME": "/"})

    assert environ == {"HOME": "/", "PYTHONPATH": str(tmp_path)}


def test_changes_that_are_not_committed_are_what_is_compared(repository):
    folder = repository({})
    fake_benchmark.set_costs(folder, inference=0.6)

    found = compare(base="HEAD")

    assert verdicts(found)["inference"] == "regression"
    assert "with changes" in found["sides"]["B"]["label"]


def test_the_base_of_a_pull_request_is_the_first_parent_of_its_merge(repository):
    """The event's sha is older: it lacks what others have merged since."""
    folder = repository({"training": 2.0}, {})
    fake_benchmark.git(folder, "switch", "--quiet", "--create", "empty", "HEAD~1")
    fake_benchmark.git(folder, "commit", "--quiet", "--allow-empty", "--message=x")
    fake_benchmark.git(folder, "switch", "--quiet", "--detach", "main")
    fake_benchmark.git(folder, "merge", "--quiet", "--no-ff", "--message=x", "empty")

    with pytest.raises(session.NothingToCompareError, match="mlpf_jax are the same in A"):
        compare(base="HEAD^1")


def test_on_main_there_is_nothing_to_compare(repository, tmp_path):
    folder = repository({})
    clone = tmp_path / "clone"
    fake_benchmark.git(tmp_path, "clone", "--quiet", str(folder), str(clone))
    os.chdir(clone)

    with pytest.raises(session.NothingToCompareError):
        compare()


def test_without_a_base_it_is_the_parent_of_main(repository):
    repository({"training": 0.5}, {})

    found = compare()

    assert verdicts(found)["training"] == "regression"


@pytest.mark.parametrize(
    ("change", "measure"),
    [({"memory": 1100}, "memory training"), ({"accuracy": 0.89, "digest": "f" * 8}, "accuracy")],
)
def test_more_memory_and_worse_results_are_regressions_without_noise(repository, change, measure):
    repository({}, change)

    found = compare(base="HEAD~1")

    assert found["exit_status"] == 1
    assert verdicts(found)[measure] == "regression"


def test_other_bits_alone_are_no_regression(repository):
    repository({}, {"digest": "f" * 8, "accuracy": 0.8999})

    assert compare(base="HEAD~1")["exit_status"] == 0


def test_another_workload_cannot_be_compared(repository):
    repository({}, {"workload_version": 2, "training": 2.0})

    found = compare(base="HEAD~1")

    assert found["exit_status"] == 3
    assert set(verdicts(found).values()) == {"undecided"}
    assert len(found["runs"]) == 4


def test_too_few_pairs_decide_nothing(repository):
    repository({}, {"training": 2.0})

    found = compare(base="HEAD~1", max_pairs=3)

    assert found["exit_status"] == 3
    assert found["stopped"] == "out of pairs"
    assert any("or give more results" in note for note in documents.view(found).notes)


def test_no_run_is_begun_after_the_budget(repository):
    repository({})

    found = compare(base="HEAD", budget_s=1e-3, max_pairs=4)

    assert found["stopped"] == "out of time"
    assert found["exit_status"] == 3


def test_a_baseline_is_kept_used_and_not_replaced_silently(repository, tmp_path):
    folder = repository({})
    store = tmp_path / "store"
    asked = request(baseline_folder=store, max_pairs=7)

    path = session.record(asked, "spring", lambda _: None, force=False)
    fake_benchmark.set_costs(folder, training=1.2)
    with pytest.raises(ValueError, match=r"spring.json: exists already.*--force"):
        session.record(asked, "spring", lambda _: None, force=False)
    found = compare(baseline_name="spring", baseline_folder=store)

    assert len(baseline.read(path).runs) == 14
    assert verdicts(found)["training"] == "regression"
    assert found["sides"]["A"]["label"].startswith("baseline spring of ")
    assert any(one["recorded_noise"] > 0 for one in found["measures"])


def test_noise_of_a_machine_known_by_its_name_alone_is_not_taken_for_another(repository, tmp_path):
    folder = repository({})
    store = tmp_path / "store"
    session.record(
        request(baseline_folder=store, max_pairs=7), "spring", lambda _: None, force=False
    )
    template = folder / "mlpf_jax" / "template.json"
    document = json.loads(template.read_text())
    document["app"]["environment"]["surroundings"] = {"identity": report_documents.IDENTITY["zen5"]}
    template.write_text(json.dumps(document))
    fake_benchmark.git(folder, "commit", "--quiet", "--all", "--message=x")

    found = compare(base="HEAD", baseline_folder=store)

    assert not any("baseline spring" in note for note in found["notes"])
    assert all(one["recorded_noise"] == 0 for one in found["measures"])


@pytest.mark.parametrize("after", [{}, {"program": "1"}])
def test_every_other_block_of_a_baseline_compiles_and_so_do_the_runs_compared_with_it(
    live_repository, tmp_path, after
):
    folder = live_repository({})
    store = tmp_path / "store"

    path = session.record(
        request(baseline_folder=store, max_pairs=7), "x", lambda _: None, force=False
    )
    fake_benchmark.set_costs(folder, **after)
    found = compare(baseline_name="x", baseline_folder=store)

    kept = baseline.read(path)
    compiles = [run.measures_compile for run in kept.runs]
    assert compiles == [True] * 4 + [False] * 4 + [True] * 4 + [False] * 2
    assert {"training", "compile", baseline.SAME_PROGRAMS} <= kept.noises.keys()
    assert str(tmp_path) not in path.read_text()
    for side in "AB":
        runs = [run for run in found["runs"] if run["side"] == side]
        assert ["compile" in run["seconds"] for run in runs] == compiles[: len(runs)]
    assert verdicts(found)["training"] == "no regression"


def test_runs_of_another_preset_are_no_baseline(repository, tmp_path):
    folder = repository({})
    store = tmp_path / "store"
    asked = request(baseline_folder=store, budget_s=1e-9)
    assert len(baseline.read(session.record(asked, "x", lambda _: None, force=False)).runs) == 1
    (folder / "preset.cfg").write_text("--seed=2\n")

    with pytest.raises(ValueError, match="--baseline=x: 0 of this name and with the settings"):
        compare(baseline_name="x", baseline_folder=store)


def test_a_failing_run_ends_it_all_with_its_last_words(started_repository, tmp_path):
    folder = started_repository({})
    (folder / "preset.cfg").write_text("--fail=1\n")

    with pytest.raises(processes.RunFailedError, match="ended with exit status 1") as caught:
        compare(base="HEAD")

    assert caught.value.last_lines[-1] == "error: the run of this preset fails"
    assert os.listdir(tmp_path / "temporary") == []


def test_a_full_disk_in_the_midst_is_a_failure_and_no_wrong_usage(repository, monkeypatch):
    repository({})

    def fill(message):
        if message.startswith("pair 1"):
            full = OSError(errno.ENOSPC, "No space left on device", "runs")
            monkeypatch.setattr(sources.Processes, "_new_folder", mock.Mock(side_effect=full))

    with pytest.raises(processes.RunFailedError, match="runs: No space left on device"):
        session.compare(request(base="HEAD"), fill)


def test_files_that_change_while_they_are_compared_end_it(repository):
    folder = repository({})

    def change(message):
        if message.startswith("pair 2"):
            fake_benchmark.set_costs(folder, checksum="1" * 32)

    with pytest.raises(processes.RunFailedError, match="its files changed between two runs"):
        session.compare(request(base="HEAD"), change)


def test_a_hanging_run_is_killed_and_nothing_is_left_behind(started_repository, tmp_path):
    folder = started_repository({})
    (folder / "preset.cfg").write_text("--hang=1\n")

    with pytest.raises(processes.RunFailedError, match=r"killed after 0\.5 s"):
        compare(base="HEAD", run_timeout_s=0.5)

    assert os.listdir(tmp_path / "temporary") == []
    assert len(fake_benchmark.git(folder, "worktree", "list").splitlines()) == 1


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"base": "HEAD", "baseline_name": "x"}, "give A only once"),
        ({"files": (Path("a"), Path("b")), "inject": 0.1}, "--head and --inject cannot be used"),
        ({"baseline_name": "x", "inject": 0.1}, "with --baseline, --inject cannot be used"),
        ({"inject": -1.0}, "--inject=-1.0"),
        ({"base": "HEAD", "rounds": 0}, "--rounds=0: must be positive"),
        ({"base": "HEAD", "accuracy_loss": -0.1}, "--accuracy_loss=-0.1: must not be negative"),
        ({"resolve": True, "base": "HEAD"}, "--resolve compares B with itself"),
        ({"base": "nowhere"}, "git rev-parse"),
        ({"base": "HEAD", "preset": Path("missing.cfg")}, "--preset=missing.cfg: .* run this in"),
        ({"base": "HEAD", "base_python": None}, r"has no locks/\w+.txt: name a Python"),
        ({"base": "HEAD", "threshold": 0.0}, "threshold must be above the allowance"),
    ],
)
def test_impossible_requests_are_refused_before_any_run(repository, changes, message):
    repository({})

    with pytest.raises(ValueError, match=message):
        compare(**changes)


@pytest.mark.parametrize("changes", [{"base": "HEAD"}, {"inject": 0.1}, {"resolve": True}])
def test_a_baseline_is_of_b_alone_and_has_a_name_that_can_be_one(tmp_path, changes):
    preset = tmp_path / "preset.cfg"
    preset.touch()

    with pytest.raises(ValueError, match="--save_baseline records B"):
        session.record(request(preset=preset, **changes), "x", print, force=False)
    with pytest.raises(ValueError, match="'X' is not a valid name"):
        session.record(request(preset=preset), "X", print, force=False)


def test_the_settings_of_a_comparison_are_those_of_its_start(tmp_path):
    preset = tmp_path / "preset.cfg"
    preset.write_text("# first\n--seed=1\n")
    asked = request(preset=preset)
    preset.write_bytes(b"\xff")

    assert asked.settings == ("--seed=1",)
    with pytest.raises(ValueError, match=r"preset.cfg: is no text"):
        request(preset=preset)


def test_a_file_that_is_no_baseline_ends_a_comparison_before_it_starts(tmp_path):
    preset, file = tmp_path / "preset.cfg", tmp_path / "store" / "x" / "spring.json"
    file.parent.mkdir(parents=True)
    for path in (preset, file):
        path.touch()
    told = []

    with pytest.raises(ValueError, match=f"^{re.escape(str(file))}: "):
        session.compare(request(preset=preset, baseline_folder=tmp_path / "store"), told.append)

    assert told == []


def test_two_folders_of_results_are_compared(repository, tmp_path):
    repository({})
    folders = results(tmp_path, "ABBABAABBA" * 2)

    found = compare(files=folders, base_python=None, head_python=None)

    assert verdicts(found)["training"] == "regression"


def results(folder, order):
    """Runs A and the slower B in that order, and returns the folder of each."""
    for number, side in enumerate(order):
        place = folder / side / str(number)
        place.mkdir(parents=True)
        fake_benchmark.set_costs(Path.cwd(), training=1.15 if side == "B" else 1.0)
        fake_benchmark.run_once(Path.cwd(), place)
    return folder / "A", folder / "B"


def test_runs_of_two_days_confirm_nothing_of_time(repository, tmp_path):
    repository({})
    folders = results(tmp_path, "A" * 10 + "B" * 10)

    found = compare(files=folders, base_python=None, head_python=None)

    assert found["exit_status"] == 3
    assert verdicts(found)["training"] == "undecided"
    assert verdicts(found)["memory training"] == "no regression"
    assert any("not taken in turns" in note for note in found["notes"])


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"app/environment/runtime/num_cores": 64}, "another machine"),
        ({"app/bmk_checksum": "1" * 32}, "another code"),
        ({"run_info/config/model/hidden_dim": 32}, "other work .*: another network"),
        ({"report/wl-stats/data/test/sha256": "1" * 64}, "other work .*: other test events"),
    ],
)
def test_a_side_of_several_kinds_of_runs_is_refused(tmp_path, changes, words):
    """Its first run represents it, so others would be judged unseen."""
    later = {"report/wl-stats/started_at": "2030-01-01T00:00:00+00:00"}
    report_documents.write(tmp_path / "1.json")
    report_documents.write(tmp_path / "2.json", changes=later)
    assert sources.of_files(tmp_path, copies.Seen(), print).most_runs == 2

    report_documents.write(tmp_path / "2.json", changes=later | changes)

    with pytest.raises(ValueError, match=f"several kinds: .*2.json has {words}"):
        sources.of_files(tmp_path, copies.Seen(), print)


def test_files_of_a_folder_that_are_no_reports_are_told_and_left_out(tmp_path):
    """As those of checkpoints are."""
    report_documents.write(tmp_path / "1.json")
    (tmp_path / "sha256.json").write_text('{"a": "b"}')
    told = []

    assert sources.of_files(tmp_path, copies.Seen(), told.append).most_runs == 1
    assert told == [f"skipped: {tmp_path / 'sha256.json'}: not the report of a run."]


def test_copies_of_a_file_are_one_run(repository, tmp_path):
    repository({})
    folders = results(tmp_path, "AB")
    for folder in folders:
        (file,) = folder.glob("*/*.json")
        for number in range(9):
            copy = json.dumps(json.loads(file.read_text()), indent=number)
            (folder / f"{number}.json").write_text(copy)
    told = []

    asked = request(files=folders, base_python=None, head_python=None)
    outcome = session.compare(asked, told.append)

    assert len(outcome.gathered.pairs) == 1
    assert outcome.verdict == "cannot decide"
    assert "is the same run as" in told[0]
    assert "copies skipped: 18" in told[0]
    with pytest.raises(ValueError, match="only the runs of the other side"):
        compare(files=(folders[0], folders[0]), base_python=None, head_python=None)
