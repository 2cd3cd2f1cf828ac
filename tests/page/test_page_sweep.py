"""The page shows a sweep by its points, with the Pareto front."""

import pytest

from mlpf_jax.study import documents

sheet = pytest.importorskip("mlpf_jax.page.sheet", exc_type=ImportError)
study_figures = pytest.importorskip("mlpf_jax.page.study_figures", exc_type=ImportError)
figure = pytest.importorskip("matplotlib.figure")


def estimate(value):
    return {"value": value, "low": 0.9 * value, "high": 1.1 * value, "count": 3}


def point(number, label, speed, energy, *, is_best):
    found = {"events_per_s": estimate(speed), "events_per_j": estimate(energy)}
    fronts = ["training"] if is_best else []
    return {"number": number, "label": label, "phases": {"training": found}, "fronts": fronts}


@pytest.fixture
def painted(monkeypatch):
    """The axes of every figure, by its name; nothing is rendered, which takes time."""
    axes = {}

    def paint(name, title, caption, values, painter, *, height):
        picture = figure.Figure()
        painter(picture)
        axes[name] = picture.axes[0]
        return sheet.Plot(name=name, title=title, caption=caption, svg=values)

    monkeypatch.setattr(sheet, "plot", paint)
    return axes


def test_a_sweep_is_drawn_by_speed_by_energy_and_by_both(painted):
    points = [
        point(1, "300 W", 90.0, 0.3, is_best=True),
        point(2, "500 <b>W\x1b", 100.0, 0.2, is_best=True),
        point(3, "700 W", 100.0, 0.1, is_best=False),
    ]
    file = documents.StudyFile(source="s", document={"studies": {}, "trade_offs": points})

    plots = study_figures.plots([], [file])

    assert [plot.title for plot in plots] == [
        "Study 1, sweep, training: speed",
        "Study 1, sweep, training: energy",
        "Study 1, sweep, training: energy against speed",
    ]
    assert plots[0].svg == "1: 90 (front), 2: 100 (front), 3: 100"
    speed = painted["study-1-sweep-events-per-s-training"]
    assert [tick.get_text() for tick in speed.get_yticklabels()] == [
        *("300 W  1", "500 <b>W  2", "700 W  3"),
    ]
    both = painted["study-1-sweep-front-training"]
    (edge,) = [line for line in both.get_lines() if line.get_drawstyle() == "steps-pre"]
    assert list(edge.get_xdata()) == [90.0, 100.0]


def test_a_study_that_is_no_sweep_has_no_such_figures(painted):
    file = documents.StudyFile(source="s", document={"studies": {}})

    assert study_figures.plots([], [file]) == []
