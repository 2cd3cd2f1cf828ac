"""The tool prints its table and writes its page; wrong usage and damage are one line."""

import functools
import importlib.util
import shutil

import pytest

from mlpf_jax.events import writing
from mlpf_jax.simulation import bank, event


@pytest.fixture
def validate(run_program):
    return functools.partial(run_program, "tools.validate_dataset")


@pytest.fixture(scope="module")
def sets(tmp_path_factory):
    folder, truth = tmp_path_factory.mktemp("sets"), bank.load_bank()
    for process in ("ttbar", "qcd"):
        events = [event.simulate(truth, process, 2, i) for i in range(3)]
        writing.write_store(
            folder / process, events, {"kind": "simulated", "process": process, "seed": 2}
        )
    return folder


def test_both_sets_of_a_folder_are_shown(validate, sets):
    run = validate(sets, "--page=")
    assert run.returncode == 0, run.stderr
    for part in ("ttbar: 3 simulated events", "qcd: 3 simulated events", "inside", "arXiv"):
        assert part in run.stdout


def test_a_page_is_written(validate, sets, monkeypatch, tmp_path):
    figure = pytest.importorskip("matplotlib.figure")
    page_maker = pytest.importorskip("mlpf_jax.events.validation.page")
    drawn = []
    monkeypatch.setattr(page_maker, "draw", lambda *_: drawn.append(_) or figure.Figure())
    page = tmp_path / "page.pdf"
    run = validate(sets / "qcd", f"--page={page}")
    ((measured, other),) = drawn
    assert (measured.process, other) == ("qcd", None)
    assert run.returncode == 0, run.stderr
    assert f"plots: {page}" in run.stdout
    assert page.read_bytes().startswith(b"%PDF")


def test_a_second_set_is_compared(validate, sets):
    run = validate(sets / "qcd", f"--against={sets}", "--page=", "--quiet")
    assert run.returncode == 0, run.stderr
    assert "0 of " in run.stdout
    assert "quantities differ" in run.stdout
    assert run.stderr == ""


def test_without_the_extras_the_rest_is_shown_and_the_cure_named(validate, sets, monkeypatch):
    """Modules of these names that are found nowhere: as if they were not installed."""
    find, hidden = importlib.util.find_spec, ("fastjet", "matplotlib")
    monkeypatch.setattr(
        importlib.util,
        "find_spec",
        lambda name, *rest: None if name in hidden else find(name, *rest),
    )
    run = validate(sets / "qcd")
    assert run.returncode == 0, run.stderr
    assert "pip install 'mlpf_jax[validate]'" in run.stderr
    assert "pip install 'mlpf_jax[plots]'" in run.stderr
    assert "jet" not in run.stdout.partition("jets and missing energy")[2].partition("implaus")[0]


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        ([], "give one folder"),
        (["nowhere"], "nowhere is not a set of events and contains none"),
        (["nowhere", "elsewhere"], "give one folder"),
        (["nowhere", "--higgs"], "higgs"),
    ],
)
def test_wrong_usage_is_one_line_and_status_2(validate, words, reason):
    run = validate(*words)
    assert run.returncode == 2
    assert reason in run.stderr
    assert len(run.stderr.strip().splitlines()) == 1


def test_a_page_of_another_kind_is_refused_before_any_work(validate, sets):
    pytest.importorskip("matplotlib")
    run = validate(sets, "--page=x.html")
    assert (run.returncode, run.stdout) == (2, "")
    assert run.stderr.strip() == "error: x.html: the name of a page must end in .pdf or .png."


def test_damaged_events_are_one_line_and_status_1(validate, sets, tmp_path):
    damaged = tmp_path / "damaged"
    shutil.copytree(sets / "qcd", damaged)
    (victim,) = damaged.glob("*/targets.npy")
    victim.write_bytes(victim.read_bytes()[:-4])
    run = validate(damaged, "--page=")
    assert run.returncode == 1
    assert "targets.npy" in run.stderr
    assert len(run.stderr.strip().splitlines()) == 1


def test_an_unwritable_page_is_reported_before_any_work(validate, sets, full_disk):
    run = validate(sets, f"--page={full_disk / 'page.pdf'}", "--quiet")

    assert (run.returncode, run.stdout) == (1, "")
    assert run.stderr == f"error: {full_disk}: No space left on device.\n"
