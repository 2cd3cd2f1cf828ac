"""Runs the benchmark as the gate does: with a yardstick after every timed window.

    python -P driver.py 0.15 yardstick.json --flagfile=flags/regression.cfg

It is run by its path, for the benchmark that it drives may be an older one. The yardstick is a
product of matrices on the first device: how long one takes, as soon as the clock of a window has
stopped, tells how fast the machine was just then. It goes into a file of its own; nothing that the
benchmark measured is changed.

To try the gate out, a share of extra work is done inside every window: the same products, as often
as takes that share of the time that the window's own steps took. 0 is a share like any other. What
is patched is `time_steps`, which every sample goes through; compilation stays as it is.
"""

import ast
import contextlib
import importlib.util
import json
import runpy
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

_PATCHED = (("runtime", "prepare"), ("measure.timing", "time_steps"))
_SIZE = 640
_CALIBRATION_S = 0.2
_YARDSTICK_S, _YARDSTICKS = 0.06, 3


class Work:
    """Products of matrices that take about a given time: their rate is measured once."""

    def __init__(self, clock: Callable[[], float] = time.perf_counter):
        self._clock = clock
        self._rate: float | None = None  # products per second
        self._multiply: Callable[[int], Any] | None = None

    def do(self, seconds: float) -> None:
        """Works for about `seconds`; the number of products is fixed before they begin."""
        self._work(self._number(seconds))

    def seconds_per_product(self) -> float:
        """Works for some moments and returns how long a product took in the least disturbed one."""
        number = max(self._number(_YARDSTICK_S), 1)
        return min(self._timed(number) for _ in range(_YARDSTICKS)) / number

    def calibrate(self) -> None:
        """Compiles the work and measures how fast it goes."""
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


def drive(
    time_steps: Callable[..., Any], share: float, work: Work, yardstick: list[float]
) -> Callable[..., Any]:
    """Returns `time_steps` with extra work before its clock stops, and the yardstick after."""

    def driven(advance: Callable[..., Any], state: Any, batches: Sequence[Any], *rest, **options):
        import jax

        work.do(0.0)  # calibrated before the clock starts
        num_done, started = 0, 0.0

        def with_extra_work(current, batch):
            nonlocal num_done, started
            started = started or time.perf_counter()
            result = advance(current, batch)
            num_done += 1
            if share and num_done == len(batches):
                jax.block_until_ready(result)
                work.do(share * (time.perf_counter() - started))
            return result

        timed = time_steps(with_extra_work, state, batches, *rest, **options)
        yardstick.append(work.seconds_per_product())
        return timed

    return driven


def missing(package: Path) -> str | None:
    """Returns which function the package in that folder lacks to be driven; None if it has all.

    The files are read and not imported: that would import JAX, and it is not our own package.
    """
    for module, name in _PATCHED:
        path = package.joinpath(*module.split(".")).with_suffix(".py")
        try:
            body = ast.parse(path.read_bytes()).body
        except (OSError, SyntaxError, ValueError):
            body = []
        if not any(isinstance(node, ast.FunctionDef) and node.name == name for node in body):
            return f"{module}.{name}"
    return None


def _compile_products() -> Callable[[int], Any]:
    import jax
    import jax.numpy as jnp

    matrix = jnp.eye(_SIZE, dtype=jnp.float32)

    @jax.jit
    def multiply(number):
        return jax.lax.fori_loop(0, number, lambda _, product: product @ matrix, matrix)

    return multiply


def main(arguments: Sequence[str]) -> None:
    """Patches the benchmark, runs it with the arguments after the first two, and says how fast."""
    share, told_in = float(arguments[0]), Path(arguments[1])
    spec = importlib.util.find_spec("mlpf_jax")
    folders = spec.submodule_search_locations if spec else None
    if lacking := missing(Path(folders[0])) if folders else "main":
        sys.exit(f"error: this benchmark cannot be driven: it has no {lacking}")
    from mlpf_jax import runtime

    prepare = runtime.prepare
    yardstick: list[float] = []

    def prepare_and_patch(*rest, **options):
        settings = prepare(*rest, **options)
        # Only now: JAX must not be imported before it is set up, and `timing` imports it.
        from mlpf_jax.measure import timing

        timing.time_steps = drive(timing.time_steps, share, Work(), yardstick)
        return settings

    runtime.prepare = prepare_and_patch
    sys.argv = ["mlpf_jax.main", *arguments[2:]]
    with contextlib.ExitStack() as stack:
        stack.callback(lambda: told_in.write_text(json.dumps(yardstick)))
        runpy.run_module("mlpf_jax.main", run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main(sys.argv[1:])
