"""Seconds of every operation of one step, out of the profiler's trace of it."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path

import jax

from benchmarks.step import attribution

_OPERATION = "hlo_op"  # the events of a trace that carry this are operations of a program


@dataclasses.dataclass(frozen=True)
class Trace:
    """What one traced step says. Operations may run side by side: their sum may exceed `busy_s`."""

    seconds: Mapping[str, float]  # by operation, containers left out
    busy_s: float  # at least one operation ran

    @property
    def sum_s(self) -> float:
        """The seconds of all operations together."""
        return sum(self.seconds.values())

    def by_place(self, places: Mapping[str, attribution.Place]) -> dict[attribution.Place, float]:
        """Returns the seconds by part of the network and direction."""
        other = attribution.Place(attribution.OTHER, "forward")
        found: dict[attribution.Place, float] = {}
        for name, seconds in self.seconds.items():
            place = places.get(name, other)
            found[place] = found.get(place, 0.0) + seconds
        return found


def read(path: Path, places: Mapping[str, attribution.Place]) -> Trace:
    """Reads a trace whose operations are those of `places`; others are passed over.

    Raises:
        ValueError: if it has none of them.
    """
    seconds: dict[str, float] = {}
    spans: list[tuple[float, float]] = []
    for plane in jax.profiler.ProfileData.from_file(str(path)).planes:
        for line in plane.lines:
            for event in line.events:
                name = dict(event.stats).get(_OPERATION)
                if name in places:
                    seconds[name] = seconds.get(name, 0.0) + event.duration_ns / 1e9
                    spans.append((event.start_ns, event.start_ns + event.duration_ns))
    if not spans:
        raise ValueError(f"{path}: no operation of the program stands in this trace.")
    return Trace(seconds, _covered(spans) / 1e9)


def _covered(spans: list[tuple[float, float]]) -> float:
    """Returns the length of the union of spans."""
    total, end = 0.0, float("-inf")
    for start, stop in sorted(spans):
        total += max(0.0, stop - max(start, end))
        end = max(end, stop)
    return total
