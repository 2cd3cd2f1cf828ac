"""Forks runs from a process that has imported everything, and hears which phase each is in.

A run spends most of its time on imports and on tracing the network, the same every time. A fork
saves the imports. What comes before the phase in which a run is to be killed can be remembered from
an undisturbed run: the first state, the cost of the graph, the compiled programs.

The process that forks must have one thread and no initialised back end of JAX.
"""

import dataclasses
import functools
import gc
import multiprocessing
import os
import sys
import time
from collections.abc import Callable, Sequence
from multiprocessing import connection
from pathlib import Path
from typing import Any

from mlpf_jax import processes, runtime

_context = multiprocessing.get_context("fork")
# The phases of a run, in order, and the function of the package whose calls they are.
PHASES = {
    "starting": None,
    "simulating": "source.simulate_store",
    "resuming": "resuming.Keeper.open",
    "drawing weights": "story._draw",  # only without a checkpoint
    "compiling": "programs.compile_step",
    "training": "loop.train",
    "validating": "phases.evaluate",
    "saving": "checkpoint.Store.save",
    "inferring": "phases.infer",
    "reporting": "ending.deliver",
}
_BETWEEN = "between phases"
_SAMPLE_S = 0.01  # instead of 1 s, so that checkpoints fall into an epoch
Memory = dict[tuple[str, ...], Any]  # by phase, function and, of a text, first argument


class Running:
    """A forked run."""

    def __init__(self, process: Any, channel: connection.Connection):
        self._process, self._channel = process, channel
        self.entered, self.times = ["starting"], [time.monotonic()]  # phases, and when
        self.memory: Memory = {}
        self._is_open = True

    @property
    def pid(self) -> int:
        """The process."""
        return self._process.pid

    def listen(self, seconds: float, until: Callable[[], bool] = lambda: False) -> None:
        """Follows the run for some seconds, or until something holds, or until its end."""
        end = time.monotonic() + seconds
        while self._is_open and not until():
            left = end - time.monotonic()
            if left <= 0 or not self._channel.poll(left):
                return
            try:
                said = self._channel.recv()
            except (EOFError, OSError):  # it has ended
                self._is_open = False
                return
            if isinstance(said, str):
                self.entered.append(said)
                self.times.append(time.monotonic())
            else:
                self.memory.update(said)

    def is_running(self) -> bool:
        """Whether it has not ended."""
        return self._process.is_alive()

    def wait(self, seconds: float) -> int:
        """Follows the run to its end; returns its status.

        Raises:
            processes.RunFailedError: if it takes longer; it is killed then.
        """
        self.listen(seconds)
        self._process.join(seconds)
        if self._process.exitcode is None:
            self._process.kill()
            raise processes.RunFailedError(f"did not end within {seconds:g} s")
        return self._process.exitcode


class Nursery:
    """Has imported all that a run needs, for a number of virtual devices."""

    def __init__(self, num_devices: int):
        """Must be called before JAX is imported."""
        self._settings = runtime.prepare(num_devices)
        self._modules = _import()
        gc.freeze()  # no fork has to look through what was imported
        self.memory: Memory = {}

    def start(
        self,
        arguments: Sequence[str],
        log: Path,
        *,
        forget_from: str | None,
        prepare: Callable[[Callable[[Memory], None]], None] | None = None,
    ) -> Running:
        """Forks a run.

        What comes before the phase `forget_from` is remembered; None: nothing is, and `memory` of
        what is returned has what there is to remember. `prepare` is called in the run before it
        starts, with a function that adds to that memory.
        """
        log.write_bytes(b"")  # the fork may be killed before it opens it
        reading, writing = _context.Pipe(duplex=False)
        phases = list(PHASES)
        known = phases[: phases.index(forget_from)] if forget_from else []
        memory = {key: value for key, value in self.memory.items() if key[0] in known}
        process = _context.Process(
            target=self._run,
            daemon=True,
            args=(list(arguments), log, writing, memory, forget_from is None, prepare),
        )
        process.start()
        writing.close()
        return Running(process, reading)

    def _run(
        self,
        arguments: list[str],
        log: Path,
        channel: connection.Connection,
        memory: Memory,
        tells: bool,
        prepare: Callable[[Callable[[Memory], None]], None] | None,
    ) -> None:
        """Is the run, in the forked process."""
        descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        for number in (1, 2):
            os.dup2(descriptor, number)
        sys.argv = ["mlpf_jax.main", *arguments]
        self._replace("runtime.prepare", lambda _: lambda num_devices: self._settings)
        self._modules["setup"]._SHORTEST_SAMPLE_S = {"cpu": _SAMPLE_S}
        self._remember(memory, channel.send if tells else None)
        self._mark(channel.send)
        if prepare:
            prepare(channel.send)
        self._modules["main"].run_app()

    def _mark(self, tell: Callable[[str], None]) -> None:
        stack = [_BETWEEN]

        def marked(phase, function):
            @functools.wraps(function)
            def call(*args, **options):
                stack.append(phase)
                tell(phase)
                try:
                    return function(*args, **options)
                finally:
                    stack.pop()
                    tell(stack[-1])

            return call

        for phase, name in PHASES.items():
            if name is not None:
                self._replace(name, functools.partial(marked, phase))

    def _remember(self, memory: Memory, tell: Callable[[Memory], None] | None) -> None:
        """Takes results from the memory, or tells them."""

        def remembering(phase, name, pack, unpack, function):
            @functools.wraps(function)
            def call(*args, **options):
                key = phase, name, args[0] if isinstance(args[0], str) else ""
                if key in memory:
                    return unpack(memory[key])
                found = function(*args, **options)
                if tell:
                    tell({key: pack(found)})
                return found

            return call

        for phase, name, pack, unpack in (
            ("simulating", "state.shapes", _same, _same),
            ("drawing weights", "story._draw", _to_host, _to_jax),
            ("drawing weights", "cost.graph_cost", _same, _same),
            ("compiling", "programs.compile_step", _pack_programs, _unpack_programs),
        ):
            self._replace(name, functools.partial(remembering, phase, name, pack, unpack))

    def _replace(self, name: str, replacement: Callable) -> None:
        *path, last = name.split(".")
        owner = self._modules[path[0]]
        for step in path[1:]:
            owner = getattr(owner, step)
        setattr(owner, last, replacement(getattr(owner, last)))


def _import() -> dict[str, Any]:
    """Imports all that a run imports; returns modules by name."""
    import jsonschema  # noqa: F401 - a run imports it late
    import scipy.stats  # noqa: F401

    from mlpf_jax import main
    from mlpf_jax.events import source
    from mlpf_jax.measure import environment
    from mlpf_jax.run import (
        devices,
        ending,
        files,
        inputs,
        leaving,
        loop,
        phases,
        programs,
        resuming,
        setup,
        story,
    )
    from mlpf_jax.telemetry import opening
    from mlpf_jax.training import checkpoint, cost, state

    modules = (main, source, environment, devices, ending, files, inputs, leaving, loop, phases)
    modules += (programs, resuming, runtime, setup, story, opening, checkpoint, cost, state)
    return {module.__name__.rpartition(".")[2]: module for module in modules}


def _same(value: Any) -> Any:
    return value


def _to_host(state: Any) -> Any:
    import jax
    import numpy as np

    return jax.tree.map(np.asarray, state)


def _to_jax(packed: Any) -> Any:
    import jax

    return jax.device_put(packed)


def _pack_programs(programs: Any) -> Any:
    from jax.experimental import serialize_executable

    packed = {rows: serialize_executable.serialize(one) for rows, one in programs.by_rows.items()}
    return dataclasses.replace(programs, by_rows=packed)


def _unpack_programs(packed: Any) -> Any:
    from jax.experimental import serialize_executable

    load = serialize_executable.deserialize_and_load
    return dataclasses.replace(
        packed, by_rows={rows: load(*one) for rows, one in packed.by_rows.items()}
    )
