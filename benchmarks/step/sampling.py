"""Samples the time of a function that is called repeatedly with the same arguments."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

from mlpf_jax.measure import timing
from mlpf_jax.stats import summaries

SHORTEST_SAMPLE_S = 0.1
NUM_SAMPLES = 7


@dataclasses.dataclass(frozen=True)
class Samples:
    """Seconds of one call, sample by sample."""

    seconds: tuple[float, ...]
    calls_per_sample: int

    @property
    def summary(self) -> summaries.Summary:
        """Median, spread and interval of the seconds of a call."""
        return summaries.summarize(self.seconds)


def sample_calls(
    function: Callable[..., Any],
    arguments: Sequence[Any],
    *,
    num_samples: int = NUM_SAMPLES,
    shortest_sample_s: float = SHORTEST_SAMPLE_S,
) -> Samples:
    """Times calls dispatched back to back, waiting once per sample, without the first two calls.

    Only the newest results are kept: those of a whole sample exceed the memory of a fast GPU.
    """

    def advance(newest, given):
        del newest
        return function(*given), None

    timing.time_steps(advance, None, [tuple(arguments)])
    _, _, seconds = timing.time_steps(advance, None, [tuple(arguments)])
    number = min(timing.steps_per_sample(seconds, shortest_sample_s), 1000)
    given = [tuple(arguments)] * number
    taken = tuple(timing.time_steps(advance, None, given)[2] / number for _ in range(num_samples))
    return Samples(taken, number)


def sample_steps(
    advance: Callable[[Any, Any], tuple[Any, Any]],
    state: Any,
    batch: Any,
    *,
    num_samples: int = NUM_SAMPLES,
    shortest_sample_s: float = SHORTEST_SAMPLE_S,
    waits_each: bool = False,
) -> tuple[Any, Samples]:
    """Like `sample_calls`, for steps that donate their state; also returns the last state."""
    state, _, _ = timing.time_steps(advance, state, [batch])
    state, _, seconds = timing.time_steps(advance, state, [batch])
    number = min(timing.steps_per_sample(seconds, shortest_sample_s), 1000)
    taken = []
    for _ in range(num_samples):
        state, _, seconds = timing.time_steps(
            advance, state, [batch] * number, waits_each=waits_each
        )
        taken.append(seconds / number)
    return state, Samples(tuple(taken), number)
