"""A side says that it is ready, answers what it is asked, and ends with its driver."""

import io
import json

import pytest

from mlpf_jax.measure import window
from mlpf_jax.sides import extra_work, member, protocol


def serve(*requests, **options):
    pipes = protocol.Pipes(
        io.StringIO("".join(f"{json.dumps(r)}\n" for r in requests)), io.StringIO()
    )
    settings = {"identity": {"x": "1"}, "memory_bytes": 2**40, "events_per_step": 4}
    protocol.serve(pipes, {"training": lambda n: 0.5 * n}, **settings | options)
    return [json.loads(line) for line in pipes.answers.getvalue().splitlines()]


def test_it_says_what_it_is_and_answers_until_the_end():
    ready, run, memory = serve({"run": "training", "steps": 3}, {"memory": True}, {"end": True})

    assert ready == {
        "protocol": protocol.VERSION,
        "identity": {"x": "1"},
        "memory_bytes": 2**40,
        "events_per_step": 4,
        "phases": ["training"],
    }
    assert run["seconds"] == 1.5
    assert run["load"] is None or run["load"].keys() == {"other_cores", "stolen_cores"}
    assert memory["peak_bytes"] > 10**6


def test_it_ends_when_nobody_asks_any_more_and_needs_at_least_what_it_has_taken():
    (ready,) = serve(memory_bytes=1, more={"first_call_s": 2.0}, peak_bytes=lambda: 5)

    assert ready["memory_bytes"] > 10**6
    assert ready["first_call_s"] == 2.0


def test_extra_work_takes_its_share_of_the_time_of_the_steps():
    asked = []

    def do(seconds):
        asked.append(seconds)
        return 0.07

    slowed = extra_work.slowed(lambda n: 0.1 * n, 0.15, do)

    assert slowed(4) == pytest.approx(0.47)
    assert asked == pytest.approx([0.06])


def test_as_many_products_are_computed_as_fit_into_the_time(monkeypatch):
    now = [0.0]
    done = []

    def multiply(number):
        done.append(number)
        now[0] += 0.01 * number
        return Result()

    class Result:
        def block_until_ready(self):
            return self

    monkeypatch.setattr(extra_work, "_compile_products", lambda: multiply)

    work = extra_work.Work(lambda: now[0])

    assert work.do(0.5) == pytest.approx(0.5)
    assert done[-1] == 50


def test_a_loss_that_is_not_finite_ends_the_side_with_one_line():
    def diverge(number):
        raise ArithmeticError("a loss of training is not finite (total)")

    pipes = protocol.Pipes(io.StringIO('{"run": "training", "steps": 1}\n'), io.StringIO())
    run = window.Windows(
        phases={"training": diverge}, programs={}, memory_bytes=1, events_per_step=1
    )

    with pytest.raises(SystemExit, match="error: a loss of training is not finite"):
        member.serve(pipes, 0.0, run)
