"""The checks of the timing: the work, the rule and the result."""

import dataclasses
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.step import sampling, workload
from mlpf_jax import config as config_lib
from mlpf_jax.events import batch as batch_lib
from mlpf_jax.measure import timing
from mlpf_jax.stats import comparison, summaries

KNOWN_S = 0.05  # duration of the work of known length
_DISPATCH_S = 5e-3  # an empty call takes less on any supported machine
_KNOWN_SHARE = 0.1  # by which known work may seem longer: a sleeper wakes late, others take cores
_STEPS_PER_SAMPLE = 20
_MATRIX_SIZE = 1024
_FALSE_ALARMS = 0.01
_RESOLUTION_SHARE = 1e-4  # of the shortest sample of a benchmark on a CPU, 1 s


@dataclasses.dataclass(frozen=True, kw_only=True)
class Check:
    """One check. `seconds` are those of one step, sample by sample."""

    name: str
    rule: str
    seconds: tuple[float, ...]
    found: str
    holds: bool

    @property
    def summary(self) -> summaries.Summary:
        """Summary of the seconds."""
        return summaries.summarize(self.seconds)


def run(
    config: config_lib.RunConfig,
    batch: batch_lib.EventBatch,
    *,
    num_samples: int,
    tell: Callable[[str], None],
) -> tuple[Check, ...]:
    """Runs every check; the last ones on a training step of the benchmark."""
    tell("the clock")
    found = [resolution(num_samples), empty_step(num_samples)]
    tell("work of known length")
    found += [sleeping_step(num_samples), busy_step(num_samples)]
    tell("dispatch and computation")
    found += bound_steps(num_samples)
    tell("compiling a training step")
    step = workload.training_step(config, workload.drawn_state(config), batch)
    tell("the same step against itself")
    found.append(against_itself(step, num_samples))
    return tuple(found)


def resolution(num_samples: int, clock: timing.Clock = timing.clock_ns) -> Check:
    """Checks the clock's smallest step, which is also an upper limit for the time to read it."""
    smallest = []
    for _ in range(num_samples):
        differences = np.diff([clock() for _ in range(10_000)])
        smallest.append(float(np.min(differences[differences > 0], initial=1e9)) / 1e9)
    backwards = any(np.any(np.diff([clock() for _ in range(10_000)]) < 0) for _ in range(3))
    coarsest = max(smallest)
    return Check(
        name="clock: resolution",
        rule=f"monotonic, and at most {_RESOLUTION_SHARE:g} of a sample of 1 s",
        seconds=tuple(smallest),
        found=f"{1e9 * coarsest:.3g} ns" + (", goes backwards" if backwards else ""),
        holds=coarsest <= _RESOLUTION_SHARE and not backwards,
    )


def empty_step(num_samples: int) -> Check:
    """Times an empty compiled step, which leaves the overhead of timing and dispatch."""
    step = jax.jit(lambda x: x + 1).lower(jnp.zeros(())).compile()
    samples = sampling.sample_calls(step, (jnp.zeros(()),), num_samples=num_samples)
    middle = samples.summary.median
    return Check(
        name="empty step",
        rule=f"under {1e3 * _DISPATCH_S:g} ms",
        seconds=samples.seconds,
        found=f"{1e6 * middle:.3g} us",
        holds=middle < _DISPATCH_S,
    )


def sleeping_step(num_samples: int) -> Check:
    """Times a compiled step with a host callback that sleeps."""
    return _known("step that sleeps 50 ms", time.sleep, num_samples)


def busy_step(num_samples: int) -> Check:
    """Times a compiled step with a host callback that computes for a given time."""

    def work(seconds: float) -> None:
        end = time.perf_counter() + seconds
        while time.perf_counter() < end:
            pass

    return _known("step that is busy for 50 ms", work, num_samples)


def _known(name: str, wait: Callable[[float], None], num_samples: int) -> Check:
    """Known work must never appear shorter, nor much longer, for one step or several in a row."""

    def on_host(x):
        wait(KNOWN_S)
        return x

    @jax.jit
    def step(x):
        shape = jax.ShapeDtypeStruct(x.shape, x.dtype)
        return jax.pure_callback(on_host, shape, x)

    compiled = step.lower(jnp.zeros(())).compile()
    seconds = []
    for number in range(num_samples):  # one step, two steps, and so on
        num_steps = 1 + number % 4
        # Every step depends on the result of the previous one, as in training.
        _, _, total = timing.time_steps(
            lambda x, _: ((y := compiled(x)), y), jnp.zeros(()), [None] * num_steps
        )
        seconds.append(total / num_steps)
    middle, least = float(np.median(seconds)), min(seconds)
    return Check(
        name=name,
        rule=f"never less, and on the median at most {100 * _KNOWN_SHARE:g} % more",
        seconds=tuple(seconds),
        found=f"{1e3 * least:.5g} ms at least, {1e3 * middle:.5g} ms on the median",
        holds=least >= KNOWN_S and middle <= KNOWN_S * (1 + _KNOWN_SHARE),
    )


def bound_steps(num_samples: int) -> Iterator[Check]:
    """Compares waiting for every step with waiting once per sample: it costs at most a dispatch."""
    for name, size in (("dispatch-bound", 2), ("compute-bound", _MATRIX_SIZE)):
        matrix = jnp.eye(size)
        step = jax.jit(lambda x, y: x @ y).lower(matrix, matrix).compile()

        def advance(x, y, step=step):
            x = step(x, y)
            return x, x

        once, each = [], []
        for _ in range(num_samples):
            for seconds, waits in ((once, False), (each, True)):
                _, _, total = timing.time_steps(
                    advance, matrix, [matrix] * _STEPS_PER_SAMPLE, waits_each=waits
                )
                seconds.append(total / _STEPS_PER_SAMPLE)
        more = float(np.median(each)) - float(np.median(once))
        yield Check(
            name=f"{name} step, waited for once a sample",
            rule=f"waiting for each adds under {1e3 * _DISPATCH_S:g} ms",
            seconds=tuple(once),
            found=f"{1e6 * float(np.median(once)):.4g} us, each waited for {1e6 * more:+.3g} us",
            holds=more < _DISPATCH_S,
        )


def against_itself(step: workload.Step, num_samples: int) -> Check:
    """Samples of one step, assigned alternately as A, B, B, A, must not differ significantly."""
    _, samples = sampling.sample_steps(
        step.advance, step.initial, step.batch, num_samples=4 * -(-num_samples // 2)
    )
    a, b = _dealt(samples.seconds)
    ratio = comparison.paired_ratio(a, b)
    summary = samples.summary
    return Check(
        name="training step, A against A",
        rule=f"no significant ratio, at {100 * _FALSE_ALARMS:g} %",
        seconds=samples.seconds,
        found=f"ratio {ratio.value:.4g}, {ratio.low:.4g} to {ratio.high:.4g} at 95 %; "
        f"spread {100 * summary.spread / summary.median:.2g} %",
        holds=ratio.p_value >= _FALSE_ALARMS,
    )


def _dealt(values: Sequence[float]) -> tuple[list[float], list[float]]:
    a = [value for place, value in enumerate(values) if place % 4 in (0, 3)]
    b = [value for place, value in enumerate(values) if place % 4 in (1, 2)]
    return a, b


def text(found: Sequence[Check]) -> str:
    """Returns the table as Markdown."""
    lines = ["| check | rule | found | samples | spread | |", "|---|---|---|---:|---:|---|"]
    for check in found:
        summary: Any = check.summary
        lines.append(
            f"| {check.name} | {check.rule} | {check.found} | {summary.count} | "
            f"{100 * summary.spread / summary.median:.2g} % | {'holds' if check.holds else 'NO'} |"
        )
    return "\n".join(lines) + "\n"
