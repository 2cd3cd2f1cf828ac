"""Measures lowering, compilation and first call of a step once, and the steady state many times.

Independent of the network. Statistics and warm-up detection are in `stats`.
"""

import contextlib
import math
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol, TypeVar, runtime_checkable

import jax
from jax.experimental.compilation_cache import compilation_cache

from mlpf_jax.measure import records, window

Clock = Callable[[], int]  # nanoseconds
State = TypeVar("State")
Batch = TypeVar("Batch")
clock_ns: Clock = time.perf_counter_ns
_CACHE_SWITCH = "jax_enable_compilation_cache"


@runtime_checkable
class Lowerable(Protocol):
    """The type that jit and pmap return. (`jax.stages.Wrapped` has `trace`, which pmap lacks.)"""

    def lower(self, *args: Any) -> jax.stages.Lowered: ...


def compile_step(
    step: Lowerable, *args: Any, clock: Clock = clock_ns, from_cache: bool = False
) -> tuple[jax.stages.Lowered, jax.stages.Compiled, records.CompileTimes]:
    """Compiles a jitted or pmapped step ahead of time, for arguments shaped like `args`.

    JAX's persistent compilation cache is disabled meanwhile, so that the time is that of a
    compilation. With `from_cache`, JAX may load the program from its cache; the compilation time is
    then None.
    """
    with contextlib.nullcontext() if from_cache else _without_cache():
        start = clock()
        lowered = step.lower(*args)
        lowered_at = clock()
        compiled = lowered.compile()
        compile_s = None if from_cache else (clock() - lowered_at) / 1e9
    return lowered, compiled, records.CompileTimes((lowered_at - start) / 1e9, compile_s)


@contextlib.contextmanager
def _without_cache() -> Iterator[None]:
    """Disables the persistent compilation cache within the block, for reading and for writing.

    JAX checks only once whether the cache is enabled, so the cache must be reset.
    """
    was_enabled = getattr(jax.config, _CACHE_SWITCH)
    jax.config.update(_CACHE_SWITCH, False)
    compilation_cache.reset_cache()
    try:
        yield
    finally:
        jax.config.update(_CACHE_SWITCH, was_enabled)
        compilation_cache.reset_cache()


def time_steps(
    advance: Callable[[State, Batch], tuple[State, Any]],
    state: State,
    batches: Sequence[Batch],
    clock: Clock = clock_ns,
    *,
    waits_each: bool = False,
) -> tuple[State, list[Any], float]:
    """Runs a step on every batch; returns the final state, the steps' outputs and the seconds.

    The batches are on the devices before the clock starts. The host does not wait between steps and
    fetches nothing, so it runs ahead of an accelerator as in training. The clock stops when the
    last state and all outputs are ready. `waits_each` waits for every step. `window.hook`, if set,
    is called around the window.
    """
    hook = window.hook
    outputs = []
    if hook is not None:
        hook.before_start()
    start = clock()
    for batch in batches:
        state, output = advance(state, batch)
        outputs.append(output)
        if waits_each:
            jax.block_until_ready((state, output))
    jax.block_until_ready((state, outputs))
    if hook is not None:
        hook.before_end((clock() - start) / 1e9)
    return state, outputs, (clock() - start) / 1e9


def steps_per_sample(step_s: float, shortest_sample_s: float) -> int:
    """Returns the number of steps for a sample of at least the given length.

    Shorter samples would mostly measure dispatch latency and clock resolution.
    """
    return max(1, math.ceil(shortest_sample_s / step_s))
