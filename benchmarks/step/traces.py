"""Seconds of every operation of a step, from a profiler trace."""

import dataclasses
import gzip
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.step import attribution

# Events of a trace with this attribute are operations of a program. A TPU's events have its value
# as their own name (untested on a device).
_OPERATION = "hlo_op"
_MOST_EVENTS = 1_000_000  # that the profiler writes; it drops what exceeds this without a word

_Span = tuple[float, float, str]  # start and end in microseconds, name


@dataclasses.dataclass(frozen=True)
class Trace:
    """The times of traced steps. Simultaneous operations share the time equally."""

    seconds: Mapping[str, float]  # by operation, without containers
    sum_s: float  # of all operations by their own length: exceeds the covered time if they overlap

    @property
    def covered_s(self) -> float:
        """The seconds during which at least one operation ran: the shares add up to it."""
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
    """Reads a `*.trace.json.gz` whose operations are those of `places`; others are passed over.

    Where devices have operations, those of the host do not count: they are launches.

    Raises:
        ValueError: if it has none of them, or the profiler may have left some out.
    """
    events = json.loads(gzip.decompress(path.read_bytes()))["traceEvents"]
    if len(events) >= _MOST_EVENTS:
        raise ValueError(f"the profiler wrote no more than {_MOST_EVENTS} events.")
    on_devices = {one.get("pid") for one in events if _names_device(one)}
    of_devices: list[_Span] = []
    of_host: list[_Span] = []
    for event in events:
        is_on_device = event.get("pid") in on_devices
        own = event.get("name") if is_on_device else None
        name = event.get("args", {}).get(_OPERATION, own)
        if name in places and "dur" in event:
            spans = of_devices if is_on_device else of_host
            spans.append((event["ts"], event["ts"] + event["dur"], name))
    spans = of_devices or of_host
    if not spans:
        raise ValueError("this trace contains no operation of the program.")
    seconds = {name: length / 1e6 for name, length in shared(spans).items()}
    return Trace(seconds, sum(end - start for start, end, _ in spans) / 1e6)


def _names_device(event: Mapping[str, Any]) -> bool:
    """Whether an event names the process of its number, as the profiler says, after a device."""
    return event.get("name") == "process_name" and event["args"]["name"].startswith("/device:")


def shared(spans: Sequence[_Span]) -> dict[str, float]:
    """Returns the length of every name's spans, where several overlap divided among them."""
    edges = sorted(
        [(start, 1, name) for start, _, name in spans] + [(end, -1, name) for _, end, name in spans]
    )
    found: dict[str, float] = {name: 0.0 for _, _, name in spans}
    running: Counter[str] = Counter()
    before = edges[0][0] if edges else 0.0
    for now, change, name in edges:
        if number := running.total():
            for one, times in running.items():
                found[one] += (now - before) * times / number
        running[name] += change
        if not running[name]:
            del running[name]
        before = now
    return found
