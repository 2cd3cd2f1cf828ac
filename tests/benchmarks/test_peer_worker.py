"""The driver times what it should, for any contender."""

import itertools

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


def test_the_first_call_has_the_compilation_and_windows_have_not():
    clock = Clock()
    contender = FakeContender(clock, step_s=2.0, compile_s=30.0)

    first = worker.first_call(contender.train, contender, "a", clock)
    seconds = worker.window(contender.train, contender, itertools.cycle("ab"), 3, clock)

    assert first == {
        "first_call_s": pytest.approx(32.0),
        "first_losses": {"total": 1.0},
        "peak_bytes": 7,
    }
    assert seconds == pytest.approx(6.0)


def test_the_batches_are_taken_in_turn():
    clock = Clock()
    contender = FakeContender(clock, step_s=1.0)
    batches = itertools.cycle("abc")

    for number in (1, 3):
        worker.window(contender.train, contender, batches, number, clock)

    assert contender.fed == ["a", "b", "c", "a"]


def test_a_loss_that_is_not_finite_ends_the_side():
    clock = Clock()
    contender = FakeContender(clock, step_s=1.0, loss=float("nan"))

    with pytest.raises(SystemExit, match="not finite"):
        worker.window(contender.train, contender, itertools.cycle("a"), 1, clock)
