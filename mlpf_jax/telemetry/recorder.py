"""Records what the sensors of a machine show while a run measures. Independent of JAX.

A thread reads all sensors once a second. A reading may take 0.5 % of the thread's time at most: if
it takes more, the next one comes later. Counters of energy are also read right before and right
after every timed window, by the thread that measures, while it does not measure.
"""

import dataclasses
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from mlpf_jax.measure import load as load_lib
from mlpf_jax.measure import records
from mlpf_jax.telemetry import energy as energy_lib
from mlpf_jax.telemetry import meters, readings, record, source

_PERIOD_S = 1.0
_MOST_SHARE = 0.005  # of time for reading
_PATIENCE_S = 5.0  # with a driver that does not answer, at the end

Clock = Callable[[], float]  # seconds


@dataclasses.dataclass(frozen=True)
class Meanwhile:
    """What happened during a timed window. Unknown values are None."""

    start_s: float  # of the window, since the start of the recording
    load: load_lib.Load | None  # CPU use by others
    energy: records.Energy | None


class Watch:
    """Observes one timed window, from its creation until `end`. Reads nothing in between.

    Of several processes, one that is ready waits for the others first: the window is what follows.
    """

    def __init__(self, recorder: "Recorder"):
        self._recorder = recorder
        self._created_s = recorder.now()
        self._load = load_lib.Watch()
        self._before = recorder.read_energy()

    def end(self, seconds: float) -> Meanwhile:
        """Returns what happened; `seconds` is the length of the window, which has just ended."""
        ended_s = self._recorder.now()
        after = self._recorder.read_energy()
        used = [_used(*pair) for pair in zip(self._before, after, strict=True)]
        energy = records.Energy(*used) if any(value is not None for value in used) else None
        load = self._load.lap(max(seconds, self._recorder.now() - self._created_s))
        return Meanwhile(ended_s - seconds, load, energy)


class Recorder:
    """Reads all sources from entering its context until leaving it.

    Without sources, and outside of its context, it still observes windows.
    """

    def __init__(
        self,
        sources: Sequence[source.Source] = (),
        absent: Mapping[str, str] | None = None,
        *,
        on_cpu: bool = True,
        lengthens: bool = True,
        clock: Clock = time.perf_counter,
        sleep: Callable[[float], None] = time.sleep,
    ):
        """`absent` has the reasons for missing sources, by name. `lengthens`: whether phases that
        are too short for the counters of energy get more samples.
        """
        self._sources, self._absent = tuple(sources), dict(absent or {})
        self._clock, self._sleep = clock, sleep
        self._started_s = clock()
        self._descriptions = {one.name: self._safely(one, one.describe) for one in sources}
        self._readings = readings.Readings()
        self._before: readings.Values = {}
        self._after: readings.Values = {}
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="telemetry", daemon=True)
        devices = tuple(one for one in sources if one.part == "device")
        packages = tuple(one for one in sources if one.part == "packages")
        self._metered = (packages, ()) if on_cpu else (devices, packages)
        self._on_cpu, self._lengthens = on_cpu, lengthens

    @property
    def no_devices(self) -> str | None:
        """Why nothing is known of the accelerators; None if it is, or there are none."""
        return self._absent.get("devices")

    @property
    def descriptions(self) -> list[Mapping[str, Any]]:
        """What each source tells of what it reads."""
        return list(self._descriptions.values())

    def now(self) -> float:
        """Returns the seconds since the start of the recording."""
        return self._clock() - self._started_s

    @property
    def least_window_s(self) -> float | None:
        """How long a phase must be for the devices' counters of energy; None: as long as it is."""
        counters = [one.energy for one in self._metered[0]]
        known = [one.update_s for one in counters if isinstance(one, source.Counter)]
        is_known = self._lengthens and bool(known) and len(known) == len(counters)
        return energy_lib.least_window_s(max(known)) if is_known else None

    def watch(self) -> Watch:
        """Begins a timed window."""
        return Watch(self)

    def read_energy(self) -> tuple[float | None, float | None]:
        """Returns the joules of the devices and of the host so far; None: no counter."""
        devices, host = self._metered
        return self._read_j(devices), self._read_j(host)

    def __enter__(self) -> "Recorder":
        settle_s = max((one.settle_s for one in self._sources), default=0.0)
        if settle_s:
            self._read()  # the next values are means since this call
            self._sleep(settle_s)
        self._before = self._read()
        if self._sources:
            self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        if self._thread.is_alive():
            self._thread.join(_PATIENCE_S)
        if not self._thread.is_alive():
            self._after = self._read()
            for one in self._sources:
                one.close()

    def record(self) -> record.Telemetry:
        """Returns everything that was recorded."""
        time_s, series, cost = self._readings.finished()
        sensors = {
            one.name: record.Sensors(
                name=one.name,
                description=self._descriptions.get(one.name, {}),
                before=self._before.get(one.name, {}),
                after=self._after.get(one.name, {}),
                series=series.get(one.name, {}),
                refused=dict(one.refused),
            )
            for one in self._sources
        }
        of_devices, of_host = self._metered
        why = "CPU packages" if self._on_cpu else "devices"
        return record.Telemetry(
            sensors=tuple(sensors.values()),
            absent=self._absent,
            device_meter=meters.meter(of_devices, sensors, self._absent.get(why)),
            host_meter=meters.meter(of_host, sensors, self._absent.get("CPU packages")),
            time_s=time_s,
            cost=cost,
        )

    def read_once(self) -> float:
        """Reads all sources, and returns the seconds until the next reading."""
        start_s = time.thread_time()
        values = self._read()
        cpu_s = time.thread_time() - start_s
        self._readings.append(self.now(), cpu_s, values)
        return max(_PERIOD_S, cpu_s / _MOST_SHARE)

    def _run(self) -> None:
        wait_s = _PERIOD_S
        while not self._stopped.wait(wait_s):
            wait_s = self.read_once()

    def _read_j(self, sources: Sequence[source.Source]) -> float | None:
        try:
            return meters.read_j(sources)
        except Exception as error:  # noqa: BLE001 - as below
            self._note(sources[0], error)
            return None

    def _read(self) -> readings.Values:
        return {one.name: self._safely(one, one.sample) for one in self._sources}

    def _safely(self, one: source.Source, call: Callable[[], Mapping[str, Any]]) -> Mapping:
        """Returns what the source tells, or nothing: no sensor may end a run."""
        try:
            return call()
        except Exception as error:  # noqa: BLE001 - drivers fail in ways that nobody can list
            self._note(one, error)
            return {}

    def _note(self, one: source.Source, error: Exception) -> None:
        self._absent.setdefault(one.name, f"failed at least once: {error!r}"[:200])


def _used(before: float | None, after: float | None) -> float | None:
    """Returns the energy in between; None if it is unknown, or the counter was reset meanwhile."""
    return None if before is None or after is None or after < before else after - before
