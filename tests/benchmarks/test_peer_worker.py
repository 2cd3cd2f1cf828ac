"""The driver times what it should, for any contender."""

import numpy as np
import pytest

from benchmarks.peers import worker


class Clock:
    """Counts nanoseconds; work moves it on."""

    def __init__(self):
        self.now = 0

    def __call__(self):
        return self.now

    def work(self, seconds):
        self.now += round(seconds * 1e9)


class FakeContender:
    """Every step takes `step_s`, the first one `compile_s` more; waiting takes what is left."""

    def __init__(self, clock, step_s, compile_s=0.0, loss=1.0):
        self._clock, self._step_s, self._compile_s, self._loss = clock, step_s, compile_s, loss
        self.fed = []

    def put(self, elements, targets):
        return elements

    def train(self, batch):
        self.fed.append(batch)
        return "sums"

    infer = train

    def wait(self, sums):
        self._clock.work(self._step_s + self._compile_s)
        self._compile_s = 0.0

    def fetch(self, sums):
        self._clock.work(100.0)  # must not be in any sample
        return {"total": self._loss}, np.zeros((6, 6))

    def peak_bytes(self):
        return 7

    def versions(self):
        return {}


def job(**changes):
    settings = {"name": "jax", "folder": "", "num_threads": 1, "num_samples": 3}
    return worker.Job(**(settings | {"shortest_sample_s": 1.0} | changes))


def test_the_first_call_has_the_compilation_and_the_samples_have_not():
    clock = Clock()
    contender = FakeContender(clock, step_s=2.0, compile_s=30.0)

    phase = worker.time_phase(contender.train, contender, ["a", "b"], job(), clock)

    assert phase["first_call_s"] == pytest.approx(32.0)
    assert [one["seconds"] for one in phase["samples"]] == pytest.approx([2.0] * 3)
    assert [one["num_steps"] for one in phase["samples"]] == [1, 1, 1]


def test_short_steps_are_put_together_into_samples_that_are_long_enough():
    clock = Clock()
    contender = FakeContender(clock, step_s=0.3)

    phase = worker.time_phase(contender.train, contender, ["a"], job(), clock)

    assert [one["num_steps"] for one in phase["samples"]] == [1, 4, 4]
    assert phase["samples"][1]["seconds"] == pytest.approx(1.2)


def test_the_batches_are_taken_in_turn():
    clock = Clock()
    contender = FakeContender(clock, step_s=1.0)

    worker.time_phase(contender.train, contender, ["a", "b", "c"], job(), clock)

    assert contender.fed[:4] == ["a", "b", "c", "a"]


def test_a_loss_that_is_not_finite_ends_the_run():
    clock = Clock()
    contender = FakeContender(clock, step_s=1.0, loss=float("nan"))

    with pytest.raises(SystemExit, match="not finite"):
        worker.time_phase(contender.train, contender, ["a"], job(), clock)
