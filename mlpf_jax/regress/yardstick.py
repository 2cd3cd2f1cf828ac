"""Runs the benchmark for the gate, with a yardstick after every timed window.

    python -P yardstick.py 0.15 yardstick.json --flagfile=flags/regression.cfg

It is run by its path, because the benchmark that it drives may be an older one. The yardstick is a
matrix product on the first device. Its duration, right after the end of a window, shows how fast
the machine was at that time. It is written to a separate file; the measurements of the benchmark do
not change.

To test the gate, a share of extra work can be injected into every window: the same products, for
this share of the time of the window's own steps. A share of 0 is valid.
"""

import contextlib
import importlib.util
import json
import runpy
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

_HOOK = "measure.window"  # benchmarks without this module are older than the hook
_SIZE = 640
_CALIBRATION_S = 0.2
_YARDSTICK_S, _YARDSTICKS = 0.06, 3


class Work:
    """Matrix products for about a given time; their rate is measured once."""

    def __init__(self, clock: Callable[[], float] = time.perf_counter):
        self._clock = clock
        self._rate: float | None = None  # products per second
        self._multiply: Callable[[int], Any] | None = None

    def do(self, seconds: float) -> None:
        """Works for about `seconds`, with a number of products that is fixed in advance."""
        self._work(self._number(seconds))

    def seconds_per_product(self) -> float:
        """Works several times and returns the time per product of the fastest one."""
        number = max(self._number(_YARDSTICK_S), 1)
        return min(self._timed(number) for _ in range(_YARDSTICKS)) / number

    def calibrate(self) -> None:
        """Compiles the work and measures its rate."""
        self._multiply = _compile_products()
        self._work(1)
        number, seconds = 1, 0.0
        while seconds < _CALIBRATION_S:
            number *= 2
            seconds = self._timed(number)
        self._rate = number / min(seconds, *(self._timed(number) for _ in range(2)))

    def _number(self, seconds: float) -> int:
        if self._rate is None:
            self.calibrate()
        assert self._rate is not None
        return round(seconds * self._rate)

    def _timed(self, number: int) -> float:
        start = self._clock()
        self._work(number)
        return self._clock() - start

    def _work(self, number: int) -> None:
        assert self._multiply is not None
        self._multiply(number).block_until_ready()


class Driver:
    """The hook of the gate: extra work inside every window, the yardstick after it."""

    def __init__(self, share: float, work: Work):
        self.yardstick: list[float] = []  # seconds per product, one for each window
        self._share = share
        self._work = work

    def before_start(self) -> None:
        """Calibrates the work before the first clock starts."""
        self._work.do(0.0)

    def before_end(self, seconds: float) -> None:
        """Works for the share of the time of the window's own steps."""
        if self._share:
            self._work.do(self._share * seconds)

    def after_end(self) -> None:
        """Times the yardstick."""
        self.yardstick.append(self._work.seconds_per_product())


def missing(package: Path) -> str | None:
    """Returns the module that the driver needs and the package lacks; None if it has all."""
    path = package.joinpath(*_HOOK.split(".")).with_suffix(".py")
    return None if path.is_file() else _HOOK


def _compile_products() -> Callable[[int], Any]:
    import jax
    import jax.numpy as jnp

    matrix = jnp.eye(_SIZE, dtype=jnp.float32)

    @jax.jit
    def multiply(number):
        return jax.lax.fori_loop(0, number, lambda _, product: product @ matrix, matrix)

    return multiply


def main(arguments: Sequence[str]) -> None:
    """Runs the benchmark with the arguments after the first two, and writes the yardstick."""
    share, told_in = float(arguments[0]), Path(arguments[1])
    spec = importlib.util.find_spec("mlpf_jax")
    folders = spec.submodule_search_locations if spec else None
    if lacking := missing(Path(folders[0])) if folders else "main":
        sys.exit(f"error: this benchmark cannot be driven: it has no {lacking}")
    from mlpf_jax.measure import window

    driver = Driver(share, Work())
    window.hook = driver
    sys.argv = ["mlpf_jax.main", *arguments[2:]]
    with contextlib.ExitStack() as stack:
        stack.callback(lambda: told_in.write_text(json.dumps(driver.yardstick)))
        runpy.run_module("mlpf_jax.main", run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main(sys.argv[1:])
