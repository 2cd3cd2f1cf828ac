"""Finds the largest batch that fits, by compiling the training step for growing batches."""

import dataclasses
import functools
import itertools
from collections.abc import Callable

import jax

from mlpf_jax import config as config_lib
from mlpf_jax import errors
from mlpf_jax import progress as progress_lib
from mlpf_jax.events import batch as batch_lib
from mlpf_jax.measure import memory, records, timing
from mlpf_jax.run import setup
from mlpf_jax.training import parallel, state, step

LARGEST_BATCH = 4096
_MOST_GUESSES, _MOST_GROWTH = 8, 16
_GIB = 2**30


@dataclasses.dataclass(frozen=True)
class Attempt:
    """One batch size and the memory of its training step; None if it could not be compiled."""

    batch_size: int
    needed: records.StepMemory | None
    beside_bytes: int  # other batches on the device
    compile_s: float
    fits: bool


def largest_batch(
    config: config_lib.RunConfig,
    devices: tuple[jax.Device, ...],
    limit_bytes: int,
    on_attempt: Callable[[Attempt], None],
) -> int:
    """Returns the largest number of events per device that fit `limit_bytes`, which may be 0.

    A compilation takes up to a minute, so the memory of the last two batches tells the next one to
    try. Where that does not help, it doubles the batch until it does not fit, and then bisects.
    `on_attempt` is called for every attempt.
    """
    fitting, too_large, tried = 0, LARGEST_BATCH + 1, 1
    known: list[tuple[int, int]] = []  # batch sizes and their bytes
    for number in itertools.count(1):
        attempt = _attempt(config, devices, tried, limit_bytes)
        on_attempt(attempt)
        if attempt.fits:
            fitting = tried
        else:
            too_large = tried
        if too_large - fitting == 1:
            break
        if attempt.needed is not None:
            known.append((tried, attempt.needed.total_bytes + attempt.beside_bytes))
        bounded = too_large <= LARGEST_BATCH
        tried = (fitting + too_large) // 2 if bounded else min(2 * fitting, LARGEST_BATCH)
        if number <= _MOST_GUESSES and len(known) > 1:
            guess = min(_on_line(known[-2], known[-1], limit_bytes), _MOST_GROWTH * fitting)
            tried = min(max(guess, fitting + 1), too_large - 1)
    return fitting


def _on_line(one: tuple[int, int], other: tuple[int, int], limit_bytes: int) -> int:
    """Returns the batch whose bytes are the limit, on the line through two batches."""
    (a, of_a), (b, of_b) = one, other
    return a + (limit_bytes - of_a) * (b - a) // (of_b - of_a) if of_a != of_b else LARGEST_BATCH


def _attempt(config, devices, batch_size, limit_bytes) -> Attempt:
    train = dataclasses.replace(config.train, batch_size=batch_size)
    config = dataclasses.replace(config, train=train)
    beside = setup.bytes_beside_step(config)
    spread = parallel.Devices(devices, config.parallel)
    batch = batch_lib.abstract_batch(
        len(devices), batch_size, num_elements=config.data.num_elements
    )
    abstract, key = state.shapes(config), jax.random.key(0)
    train_step = spread.spread_train_step(functools.partial(step.train_step, config))
    try:
        _, compiled, times = timing.compile_step(train_step, abstract, batch, key)
    except (jax.errors.JaxRuntimeError, MemoryError) as error:
        if not errors.is_out_of_memory(error):
            raise
        return Attempt(batch_size, None, beside, 0.0, fits=False)
    needed = memory.of_step(compiled)
    fits = needed.total_bytes + beside <= limit_bytes
    return Attempt(batch_size, needed, beside, times.total_s or 0.0, fits)


def print_table(
    config: config_lib.RunConfig,
    devices: tuple[jax.Device, ...],
    progress: progress_lib.Progress,
) -> bool:
    """Prints every attempt and the largest batch that fits; returns whether one event fits.

    Raises:
        RuntimeError: if the device does not report its memory.
    """
    limit = memory.limit_bytes(devices[0], len(devices))
    if limit is None:
        raise RuntimeError("--fit: this device does not report its memory.")
    print(f"{len(devices)} x {devices[0].device_kind}, {limit / _GIB:.2f} GiB for each")
    print("events per device   needs GiB   of it temporary   compile s   fits")
    progress.say("compiling the training step for growing batches; nothing is trained")
    largest = largest_batch(config, devices, limit, _print_attempt)
    if not largest:
        print("It does not fit: not even one event per device.")
        return False
    extent = "up to" if largest < LARGEST_BATCH else "at least"
    print(f"It fits: {extent} {largest} events per device, {largest * len(devices)} per step.")
    if largest == LARGEST_BATCH:
        print(f"More than {LARGEST_BATCH} per device were not tried.")
    return True


def _print_attempt(attempt: Attempt) -> None:
    needed = attempt.needed
    total = f"{(needed.total_bytes + attempt.beside_bytes) / _GIB:.2f}" if needed else "too much"
    temporary = f"{needed.temporary_bytes / _GIB:.2f}" if needed else ""
    print(
        f"{attempt.batch_size:17d}   {total:>9}   {temporary:>15}   "
        f"{attempt.compile_s:9.1f}   {'yes' if attempt.fits else 'no'}",
        flush=True,
    )
