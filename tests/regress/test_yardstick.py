"""The injected work has the requested duration inside the timed window and changes no result."""

import os
import pathlib
import runpy
import subprocess
import sys

import jax.numpy as jnp
import numpy as np
import pytest

import mlpf_jax
from mlpf_jax.measure import timing, window
from mlpf_jax.regress import yardstick as driver


class Work(driver.Work):
    """Notes how long it should have worked."""

    def __init__(self):
        super().__init__()
        self.seconds = []

    def do(self, seconds):
        self.seconds.append(seconds)

    def seconds_per_product(self):
        return 0.25


def count(state, batch):
    return state + batch, state


@pytest.fixture
def drive(monkeypatch):
    """Times steps under the gate's hook."""

    def driven(share, work, *arguments, **options):
        driver_hook = driver.Driver(share, work)
        monkeypatch.setattr(window, "hook", driver_hook)
        return timing.time_steps(*arguments, **options), driver_hook.yardstick

    return driven


def test_the_work_comes_once_per_window_after_its_last_step(drive):
    work = Work()
    num_done = []

    def advance(state, batch):
        num_done.append(len(work.seconds))
        return count(state, batch)

    (state, outputs, _), _ = drive(0.5, work, advance, 1, [10, 20, 30], waits_each=False)

    assert (state, outputs) == (61, [1, 11, 31])
    assert num_done == [1, 1, 1], "only the calibration went before the steps"
    assert work.seconds[0] == 0
    assert work.seconds[1] > 0
    assert len(work.seconds) == 2


def test_the_window_itself_becomes_longer_by_the_work(drive):
    now = [0]

    class Spending(Work):
        def do(self, seconds):
            now[0] += 7 if seconds else 0

    clock = iter([0, 100, 100])
    (_, _, seconds), _ = drive(0.1, Spending(), count, 1, [1, 2], lambda: next(clock) + now[0])

    assert seconds == pytest.approx(107e-9)


def test_the_number_of_products_follows_from_their_rate():
    now, done = [0.0], []

    class Counting(driver.Work):
        def _work(self, number):
            done.append(number)
            now[0] += 0.01 * number

    work = Counting(lambda: now[0])
    work.do(0.5)
    assert done[-1] == 50
    work.do(0.0)
    assert done[-1] == 0


def test_as_many_products_are_computed_as_asked_for(monkeypatch):
    """Of twice the identity: each product doubles the result, so it tells their number."""
    eye = jnp.eye
    monkeypatch.setattr(jnp, "eye", lambda *size, **options: 2 * eye(*size, **options))

    multiply = driver._compile_products()

    for number in (0, 1, 5):
        np.testing.assert_array_equal(multiply(number), 2 ** (number + 1) * eye(driver._SIZE))


def test_the_work_is_waited_for_before_the_window_ends():
    class Result:
        def __init__(self, number):
            self.number = number

        def block_until_ready(self):
            waited_for.append(self.number)

    waited_for = []
    work = driver.Work()
    work._rate, work._multiply = 100.0, Result

    work.do(0.5)

    assert waited_for == [50]


def lay_out(package, *modules):
    (package / "measure").mkdir(parents=True)
    for module in ("__init__", *modules):
        (package / f"{module}.py").touch()
    return package


@pytest.mark.parametrize(
    ("modules", "lacking"), [(["measure/window"], None), (["measure/timing"], "measure.window")]
)
def test_missing_modules_of_a_benchmark_are_found_from_its_files(tmp_path, modules, lacking):
    assert driver.missing(lay_out(tmp_path / "mlpf_jax", *modules)) == lacking


def test_our_own_benchmark_can_be_driven():
    assert driver.missing(pathlib.Path(mlpf_jax.__path__[0])) is None


def test_an_older_benchmark_is_refused_in_one_line(tmp_path):
    lay_out(tmp_path / "mlpf_jax")

    done = subprocess.run(
        [sys.executable, "-P", driver.__file__, "0.15", "x"],
        env=os.environ | {"PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 1
    assert done.stderr == "error: this benchmark cannot be driven: it has no measure.window\n"


def test_the_yardstick_comes_after_the_clock_has_stopped(drive):
    now = [0]

    class Late(Work):
        def seconds_per_product(self):
            now[0] += 10**9
            return 0.25

    (state, _, seconds), yardstick = drive(0.0, Late(), count, 1, [1, 2], lambda: now[0])

    assert (state, seconds, yardstick) == (4, 0.0, [0.25])


def test_the_benchmark_is_run_with_its_own_arguments(monkeypatch, tmp_path):
    ran = []
    monkeypatch.setattr(runpy, "run_module", lambda *words, **_: ran.append((words, sys.argv)))
    monkeypatch.setattr(sys, "argv", ["driver.py"])
    monkeypatch.setattr(window, "hook", window.hook)
    driver.main(["0.15", str(tmp_path / "yardstick.json"), "--seed=1"])
    assert (tmp_path / "yardstick.json").read_text() == "[]"
    assert ran == [(("mlpf_jax.main",), ["mlpf_jax.main", "--seed=1"])]
