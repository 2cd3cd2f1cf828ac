"""Finds the largest batch that fits, by compiling the training step for growing batches."""

import dataclasses
import functools
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

    It doubles the batch until it does not fit, and then bisects. `on_attempt` is called for every
    attempt.
    """

    def fits(batch_size: int) -> bool:
        attempt = _attempt(config, devices, batch_size, limit_bytes)
        on_attempt(attempt)
        return attempt.fits

    fitting, tried = 0, 1
    while tried <= LARGEST_BATCH and fits(tried):
        fitting, tried = tried, tried * 2
    too_large = min(tried, LARGEST_BATCH + 1)
    while too_large - fitting > 1:
        middle = (fitting + too_large) // 2
        if fits(middle):
            fitting = middle
        else:
            too_large = middle
    return fitting


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
