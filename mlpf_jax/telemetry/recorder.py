"""Records what the sensors of a machine show while a run measures. Independent of JAX."""

import dataclasses
import time
from collections.abc import Callable

from mlpf_jax.measure import load as load_lib
from mlpf_jax.measure import records

Clock = Callable[[], float]  # seconds


@dataclasses.dataclass(frozen=True)
class Meanwhile:
    """What happened during a timed window. Unknown values are None."""

    load: load_lib.Load | None  # CPU use by others
    energy: records.Energy | None


class Watch:
    """Observes one timed window, from its creation until `end`. Reads nothing in between."""

    def __init__(self, recorder: "Recorder", phase: str):
        self._recorder, self._phase = recorder, phase
        self._load = load_lib.Watch()
        self._start_s = recorder.clock()

    def end(self, seconds: float) -> Meanwhile:
        """Returns what happened; `seconds` is the length of the window."""
        window = (self._start_s, self._start_s + seconds)
        self._recorder.windows.setdefault(self._phase, []).append(window)
        return Meanwhile(load=self._load.lap(seconds), energy=None)


class Recorder:
    """The windows of all phases, and what was recorded around them."""

    def __init__(self, clock: Clock = time.perf_counter):
        self.clock = clock
        self.windows: dict[str, list[tuple[float, float]]] = {}  # start and end, by phase

    def watch(self, phase: str) -> Watch:
        """Begins a timed window of a phase."""
        return Watch(self, phase)
