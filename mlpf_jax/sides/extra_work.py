"""Extra work to slow a side down by a known share: a test of a comparison.

The work is matrix products on the first device, right after the steps of a window and inside its
time. Nothing sleeps, and no number is changed.
"""

import time
from collections.abc import Callable
from typing import Any

_SIZE = 640
_CALIBRATION_S = 0.2


class Work:
    """Matrix products for about a given time; their rate is measured once."""

    def __init__(self, clock: Callable[[], float] = time.perf_counter):
        self._clock = clock
        self._multiply: Callable[[int], Any] = _compile_products()
        self._timed(1)
        number, seconds = 1, 0.0
        while seconds < _CALIBRATION_S:
            number *= 2
            seconds = self._timed(number)
        self._rate = number / min(seconds, *(self._timed(number) for _ in range(2)))

    def do(self, seconds: float) -> float:
        """Works for about `seconds`, a number of products fixed in advance; returns the time."""
        return self._timed(round(seconds * self._rate))

    def _timed(self, number: int) -> float:
        start = self._clock()
        self._multiply(number).block_until_ready()
        return self._clock() - start


def slowed(
    window: Callable[[int], float], share: float, do: Callable[[float], float]
) -> Callable[[int], float]:
    """Returns the window with extra work for this share of the time of its own steps."""

    def run(num_steps: int) -> float:
        seconds = window(num_steps)
        return seconds + do(share * seconds)

    return run


def _compile_products() -> Callable[[int], Any]:
    import jax
    import jax.numpy as jnp

    matrix = jnp.eye(_SIZE, dtype=jnp.float32)

    @jax.jit
    def multiply(number):
        return jax.lax.fori_loop(0, number, lambda _, product: product @ matrix, matrix)

    return multiply
