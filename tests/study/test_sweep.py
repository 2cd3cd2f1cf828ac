"""A sweep runs its grid as workloads, and marks the points that no other one beats."""

import copy
import functools
import json

import pytest

from mlpf_jax import config, progress
from mlpf_jax.page import contents
from mlpf_jax.render import tables
from mlpf_jax.report import hepscore, reader
from mlpf_jax.stats import scaling_laws
from mlpf_jax.study import engine, findings, running, runs, trade_offs
from mlpf_jax.study.sweep import grid, view
from tests.report import made_up_result
from tests.telemetry import made_up

# Events/s by power limit: 500 W is as fast as 700 W, 200 W uses more energy than 300 W.
SPEEDS = {"200": 40, "300": 90, "500": 100, "700": 100}
AXES = grid.axes({"power_limit": list(SPEEDS)})


class Gpus:
    """GPUs that take any setting but one."""

    def __init__(self):
        self.applied = []

    def apply(self, settings):
        self.applied.append(dict(settings))
        return "too high" if settings.get("power_limit") == 900 else None


@functools.cache
def document(watts, has_energy):
    used = made_up_result.samples(events=SPEEDS[watts], joules=float(watts) if has_energy else None)
    telemetry = made_up.telemetry([], {}, made_up.meter())
    price = config.PriceConfig(price_per_hour=3.6, currency="EUR")
    return hepscore.report(made_up_result.run(used, telemetry=telemetry, price=price), "")


def measured(out, *, without_energy=()):
    """The findings of a sweep over power limits, of which some show no energy."""
    gpus, words = Gpus(), []

    def run(arguments, folder):
        words.append(arguments)
        watts = str(gpus.applied[-1]["power_limit"])
        hepscore.write(document(watts, watts not in without_energy), folder)
        return running.Outcome(0, "")

    sweep = grid.sweep(AXES, ["--preset=site"], repeats=1)
    made = engine.run(sweep, out, grid.runner(run, gpus.apply), progress.Progress(quiet=True))
    results = tuple(runs.results(made, out).values())
    found = findings.Findings(
        provenance=runs.provenance(made, varies_cores=True),
        arguments=sweep.arguments,
        repeats=1,
        results=results,
        series=(),
        trade_offs=trade_offs.rows(grid.labels(AXES, sweep.points), results),
    )
    return found, words


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    return measured(tmp_path_factory.mktemp("sweep"))[0]


def test_the_front_has_the_points_that_no_other_one_beats(found):
    assert [row.label for row in found.trade_offs] == ["200 W", "300 W", "500 W", "700 W"]
    assert [row.fronts for row in found.trade_offs] == [
        (),
        ("training", "inference"),
        ("training", "inference"),
        (),
    ]


def test_without_all_energies_the_front_is_the_fastest_and_the_note_says_why(tmp_path):
    found, _ = measured(tmp_path, without_energy={"300"})

    assert [bool(row.fronts) for row in found.trade_offs] == [False, False, True, True]
    assert "the energy of some points is unknown" in view.view(found, AXES).notes[0]


def test_energy_that_was_measured_too_shortly_is_unknown(tmp_path):
    short = copy.deepcopy(document("300", True))
    short["report"]["wl-stats"]["phases"]["training"]["energy"]["is_short"] = True
    report = reader.from_document(short, str(tmp_path / "a.json"))
    point = engine.Point.of({"power_limit": 300})

    found = runs.results({point: engine.Measured(reports={0: report})}, tmp_path)

    assert set(found[point].runs[0].events_per_j) == {"inference"}


def test_the_table_has_speed_energy_and_cost_of_every_point(found):
    training = view.view(found, AXES).tables[0]

    assert training.columns[1:5] == (*("GPU W", "events/s", "events/J", "EUR per million"),)
    assert training.rows[1][:5] == ("2", "300", "90.00", "0.3000", "11.11")
    assert [row[-2] for row in training.rows] == ["", "yes", "yes", ""]


def test_a_recorded_sweep_is_read_with_its_points(found, tmp_path):
    path = tmp_path / "sweep.json"
    path.write_text(tables.render(view.view(found, AXES), "json"))

    (study,) = contents.read([path]).studies

    assert study.trade_offs == list(found.trade_offs)


@pytest.mark.parametrize(("key", "value"), [("value", "fast"), ("count", "x"), ("low", {})])
def test_damaged_points_are_refused(found, tmp_path, key, value):
    recorded = json.loads(tables.render(view.view(found, AXES), "json"))
    recorded["trade_offs"][0]["phases"]["training"]["events_per_s"][key] = value
    (tmp_path / "sweep.json").write_text(json.dumps(recorded))

    with pytest.raises(ValueError, match="damaged: trade_offs/0"):
        contents.read([tmp_path / "sweep.json"])


def test_a_point_is_run_as_a_workload_without_the_settings_of_the_gpus(tmp_path):
    _, words = measured(tmp_path)

    folder = tmp_path / "runs" / "power_limit-200" / "round-0"
    assert words[0] == [
        *(f"--compilation_cache={tmp_path / 'programs'}", "--preset=site", "--seed=1"),
        *("--direct", f"--resultsdir={folder}"),
    ]


def test_a_refused_setting_fails_its_point_and_starts_no_run(tmp_path):
    def run(arguments, folder):
        raise AssertionError("started")

    ended = grid.runner(run, Gpus().apply)(["--power_limit=900", "--results_dir=x"], tmp_path)

    assert ended == running.Outcome(engine.WRONG_USAGE, "too high")


@pytest.mark.parametrize(
    ("words", "arguments", "message"),
    [
        ({}, [], "give values of at least one setting"),
        ({"batch_size": ["1", "0"]}, [], "--batch_size=1,0: must be positive whole numbers"),
        ({"precision": ["bf17"]}, [], "--precision=bf17: must be of float32"),
        ({"copies": ["1", "1"]}, [], "--copies=1,1: give each value once"),
        (
            {name: list(map(str, range(1, 33))) for name in ("copies", "threads")},
            *([], "1024 combinations of these values are more than 1000"),
        ),
        ({"copies": ["1"]}, ["--copies=2"], "--copies=2: .* the sweep varies it"),
        ({"copies": ["1"]}, ["--seed=2"], "--seed=2: .* every round has its own"),
    ],
)
def test_an_impossible_sweep_is_refused(words, arguments, message):
    with pytest.raises(engine.StudyError, match=message):
        grid.sweep(grid.axes(words), arguments, repeats=1)


def test_one_run_of_a_point_has_no_interval(found):
    assert found.trade_offs[1].value("training", trade_offs.EVENTS_PER_S) == scaling_laws.Estimate(
        90.0, -float("inf"), float("inf"), 1
    )
