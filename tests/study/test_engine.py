"""A sweep is values and flags, nothing else."""

import json

import pytest

from mlpf_jax import progress
from mlpf_jax.report import hepscore
from mlpf_jax.study import engine, running, runs
from tests import recorded


def runner(arguments, folder):
    """A run with some precision and padding; whatever is tight does not run."""
    given = dict(word[2:].partition("=")[::2] for word in arguments)
    if given["padding"] == "tight":
        return running.Outcome(1, "not today")
    document = json.loads(recorded.OLDEST_REPORT.read_text())
    document["run_info"]["precision"] = given["precision"]
    document["run_info"]["config"]["model"]["precision"] = given["precision"]
    hepscore.write(document, folder)
    return running.Outcome(0, "")


def test_a_sweep_over_two_settings_takes_nothing_but_axes(tmp_path):
    precision = engine.Axis("precision", ("float32", "bf16"), ("precision",))
    padding = engine.Axis("padding", ("full", "tight"), ("padding",))
    sweep = engine.Sweep(points=engine.grid([precision, padding]), arguments=(), repeats=2, seed=1)

    measured = engine.run(sweep, tmp_path, runner, progress.Progress(quiet=True))

    told = {p.name: (len(m.reports), m.failure) for p, m in measured.items()}
    assert told == {
        "precision-float32_padding-full": (2, None),
        "precision-float32_padding-tight": (0, "not today"),
        "precision-bf16_padding-full": (2, None),
        "precision-bf16_padding-tight": (0, "not today"),
    }
    assert runs.provenance(measured)["precision"] == "bf16, float32"


def test_an_axis_gives_its_value_to_all_its_flags():
    axis = engine.Axis("layers", (1, 2), ("num_id_layers", "num_energy_layers"))

    sweep = engine.Sweep(points=engine.grid([axis]), arguments=("--x=1",), repeats=2, seed=7)

    assert sweep.run_arguments(sweep.points[1], 1) == [
        *("--x=1", "--num_id_layers=2", "--num_energy_layers=2", "--seed=8"),
    ]


def test_every_second_round_goes_backwards():
    points = engine.grid([engine.Axis("a", (1, 2, 3), ("a",))])
    sweep = engine.Sweep(points=points, arguments=(), repeats=2, seed=1)

    assert [(n, point.get("a")) for n, point in sweep.order()] == [
        *((0, 1), (0, 2), (0, 3), (1, 3), (1, 2), (1, 1)),
    ]


@pytest.mark.parametrize(
    ("values", "reason"), [((), "at least one point"), (("a b", "a/b"), "two points have this")]
)
def test_points_that_cannot_be_told_apart_are_refused(values, reason):
    points = engine.grid([engine.Axis("x", values, ("x",))])

    with pytest.raises(engine.StudyError, match=reason):
        engine.Sweep(points=points, arguments=(), repeats=1, seed=1)
