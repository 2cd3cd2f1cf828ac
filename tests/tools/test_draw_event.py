"""The tool writes a picture; what cannot be drawn is one line."""

import functools

import pytest

from mlpf_jax.events import writing
from mlpf_jax.simulation import bank, event


@pytest.fixture
def draw(run_program):
    return functools.partial(run_program, "tools.draw_event")


@pytest.fixture(scope="module")
def one_event(tmp_path_factory):
    folder = tmp_path_factory.mktemp("set") / "qcd"
    simulated = event.simulate(bank.load_bank(), "qcd", 1, 0)
    writing.write_store(folder, [simulated], {"kind": "simulated", "process": "qcd", "seed": 1})
    return folder


def test_an_event_is_drawn(draw, one_event, tmp_path):
    pytest.importorskip("matplotlib")
    out = tmp_path / "event.png"
    run = draw(one_event, f"--out={out}")
    assert run.returncode == 0, run.stderr
    assert out.read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("flags", "reason"),
    [
        (["--event=1"], "no event 1"),
        (["--out=x.jpg"], "the name of the picture must end in .png"),
        (["b"], "one set"),
    ],
)
def test_an_event_that_cannot_be_drawn_is_one_line_and_status_2(draw, one_event, flags, reason):
    run = draw(one_event, *flags)
    assert run.returncode == 2
    assert reason in run.stderr
    assert len(run.stderr.strip().splitlines()) == 1
