"""The clock is an argument, so timing is tested without waiting."""

import itertools

import jax
import jax.numpy as jnp
import pytest
from jax.experimental.compilation_cache import compilation_cache

from mlpf_jax.measure import records, timing, window


class FakeClock:
    """A clock that is advanced by the test."""

    def __init__(self):
        self.now_ns = 0

    def __call__(self) -> int:
        return self.now_ns

    def sleep(self, seconds: float) -> None:
        self.now_ns += int(seconds * 1e9)


class Pending:
    """The result of an asynchronous step: returned at once, ready three seconds later."""

    def __init__(self, clock):
        self._clock = clock

    def block_until_ready(self):
        self._clock.sleep(3.0)
        return self


def test_a_sample_spans_all_its_steps():
    clock = FakeClock()

    def advance(state, seconds):
        clock.sleep(seconds)
        return state + 1, state

    state, outputs, seconds = timing.time_steps(advance, 0, [0.5, 0.25, 1.0], clock)

    assert (state, outputs, seconds) == (3, [0, 1, 2], 1.75)


def test_a_sample_ends_when_the_device_is_done_and_waits_once():
    clock = FakeClock()

    _, _, seconds = timing.time_steps(
        lambda state, batch: (Pending(clock), 0), None, [None] * 4, clock
    )

    assert seconds == 3.0


def test_a_hook_acts_before_the_clock_starts_and_inside_the_window_at_its_end(monkeypatch):
    clock = FakeClock()
    told = []

    class Hook:
        def before_start(self):
            clock.sleep(10.0)

        def before_end(self, seconds):
            told.append(seconds)
            clock.sleep(0.5)

    monkeypatch.setattr(window, "hook", Hook())

    _, _, seconds = timing.time_steps(
        lambda state, batch: (Pending(clock), 0), None, [None] * 4, clock
    )

    assert (told, seconds) == ([3.0], 3.5)


def test_every_step_is_waited_for_if_required():
    clock = FakeClock()

    _, _, seconds = timing.time_steps(
        lambda state, batch: (Pending(clock), 0), None, [None] * 4, clock, waits_each=True
    )

    assert seconds == 4 * 3.0 + 3.0  # the last one is waited for once more


def test_lowering_and_compiling_are_apart():
    ticks = itertools.count(step=2_000_000_000)
    step = jax.jit(lambda x: x + 1)

    lowered, compiled, times = timing.compile_step(step, jnp.ones(3), clock=lambda: next(ticks))

    assert times == records.CompileTimes(lower_s=2.0, compile_s=2.0)
    assert "stablehlo.add" in lowered.as_text()
    assert float(compiled(jnp.ones(3))[0]) == 2


@pytest.fixture
def cache(tmp_path):
    """A persistent cache that keeps everything, for one test."""
    settings = {
        "jax_compilation_cache_dir": str(tmp_path),
        "jax_persistent_cache_min_compile_time_secs": 0.0,
    }
    before = {name: getattr(jax.config, name) for name in settings}
    for name, value in settings.items():
        jax.config.update(name, value)
    compilation_cache.reset_cache()
    yield tmp_path
    for name, value in before.items():
        jax.config.update(name, value)
    compilation_cache.reset_cache()


def test_timed_compilations_neither_read_nor_write_a_cache(cache):
    hits = []
    jax.monitoring.register_event_listener(
        lambda event, **_: hits.append(event) if event.endswith("/cache_hits") else None
    )
    x = jnp.ones(3)

    def compile_unmeasured():
        jax.jit(lambda x: jnp.sin(x) * 3).lower(x).compile()
        return len(hits), len(list(cache.glob("jit__lambda*-cache")))

    assert compile_unmeasured() == (0, 1)
    assert compile_unmeasured() == (1, 1)
    timing.compile_step(jax.jit(lambda x: jnp.sin(x) * 3), x)
    timing.compile_step(jax.jit(lambda x: jnp.cos(x) * 3), x)
    assert (len(hits), len(list(cache.glob("jit__lambda*-cache")))) == (1, 1)
    assert compile_unmeasured() == (2, 1)


def test_a_step_from_the_cache_is_not_timed(cache):
    steps = [jax.jit(lambda x: jnp.sin(x) * 3) for _ in range(2)]

    found = [timing.compile_step(step, jnp.ones(3), from_cache=True) for step in steps]

    assert len(list(cache.glob("jit__lambda*-cache"))) == 1
    assert [times.compile_s for _, _, times in found] == [None, None]
    assert all(times.lower_s > 0 and times.total_s is None for _, _, times in found)
    assert [float(step(jnp.zeros(3))[0]) for _, step, _ in found] == [0, 0]


@pytest.mark.parametrize(
    ("step_s", "shortest", "expected"), [(0.03, 0.2, 7), (0.2, 0.2, 1), (5.0, 1.0, 1)]
)
def test_a_sample_is_at_least_as_long_as_asked(step_s, shortest, expected):
    assert timing.steps_per_sample(step_s, shortest) == expected
