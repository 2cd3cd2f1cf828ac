"""Looks at every event of a set and remembers what `judging` and `page` need."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float64

from mlpf_jax.events import manifest, store
from mlpf_jax.events.validation import jets, observables, plausibility

HARD_JET_GEV, MAX_JET_ABS_ETA = 50.0, 2.5
_JET_EDGES = {"pt": np.geomspace(20.0, 1000.0, 41), "eta": np.linspace(-5.0, 5.0, 41)}
_EVENTS_AT_ONCE = 50

Progress = Callable[[int, int], None]  # events done, events wanted


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Measurement:
    """The observables of a set of events. Without FastJet there are no jets."""

    path: Path
    provenance: manifest.Provenance
    num_events: int
    observables: observables.Observables
    numbers: Mapping[str, Float64[np.ndarray, " events"]]  # see Observables.per_event
    jet_response: observables.Response | None

    @property
    def process(self) -> str:
        """The hard process."""
        return self.provenance["process"]

    @property
    def title(self) -> str:
        """A one-line description of the set."""
        origin = self.provenance
        words = [f"{self.process}: {self.num_events} {origin['kind']} events"]
        if "seed" in origin:
            words.append(f"seed {origin['seed']}")
        if "bank_sha256" in origin:
            made_by = origin.get("generator", "unknown generator")
            words.append(f"bank {origin['bank_sha256'][:8]} ({made_by})")
        return ", ".join(words)


def find_sets(folder: Path) -> list[store.EventStore]:
    """Opens the set of events `folder`, or all sets in it, "ttbar" first.

    Raises:
        ValueError: if there is none.
    """
    if (folder / manifest.NAME).is_file():
        return [store.open_store(folder)]
    paths = sorted(path.parent for path in folder.glob(f"*/{manifest.NAME}"))
    if not paths:
        raise ValueError(
            f"{folder} is not a set of events and contains none; make one with `python -m "
            f"tools.make_dataset --process=ttbar --events=1500 --out={folder / 'ttbar'}`"
        )
    return sorted(map(store.open_store, paths), key=lambda s: s.provenance["process"] != "ttbar")


def pair(
    first: Sequence[store.EventStore], second: Sequence[store.EventStore]
) -> tuple[list[store.EventStore], list[store.EventStore]]:
    """Returns pairs of sets to compare: those of equal processes, or the only two sets.

    Raises:
        ValueError: if there are no such sets.
    """
    if len(first) == len(second) == 1:
        return list(first), list(second)
    by_process = {events.provenance["process"]: events for events in second}
    common = [events for events in first if events.provenance["process"] in by_process]
    if not common:
        processes = [", ".join(e.provenance["process"] for e in side) for side in (first, second)]
        raise ValueError(f"there is no common process: {processes[0]} on one side, {processes[1]}.")
    return common, [by_process[events.provenance["process"]] for events in common]


def measure(events: store.EventStore, *, on_progress: Progress | None = None) -> Measurement:
    """Measures every event of a set, with constant memory.

    Raises:
        ValueError: if an event has invalid classes; the message names it.
    """
    seen = observables.Observables()
    response = observables.Response() if jets.is_available() else None
    for first in range(0, events.num_events, _EVENTS_AT_ONCE):
        last = min(first + _EVENTS_AT_ONCE, events.num_events)
        pairs = [_add(seen, events, index) for index in range(first, last)]
        if response is not None:
            _add_jets(seen, response, pairs)
        if on_progress:
            on_progress(last, events.num_events)
    return Measurement(
        path=events.path,
        provenance=events.provenance,
        num_events=events.num_events,
        observables=seen,
        numbers=seen.numbers(),
        jet_response=response,
    )


def _add(
    seen: observables.Observables, events: store.EventStore, index: int
) -> tuple[observables.Particles, observables.Particles]:
    event = events.event(index)
    for what, num_rows in plausibility.count(event).items():
        seen.add_number(what, num_rows)
    try:
        return seen.add(event)
    except ValueError as error:
        raise ValueError(f"{events.path}: event {index} is invalid: {error}.") from error


def _add_jets(
    seen: observables.Observables,
    response: observables.Response,
    pairs: Sequence[tuple[observables.Particles, observables.Particles]],
) -> None:
    targets = jets.cluster([pair[0] for pair in pairs])
    candidates = jets.cluster([pair[1] for pair in pairs])
    for of_targets, of_candidates in zip(targets, candidates, strict=True):
        for side, found in (("targets", of_targets), ("candidates", of_candidates)):
            is_hard = (found.pt > HARD_JET_GEV) & (np.abs(found.eta) < MAX_JET_ABS_ETA)
            seen.add_number(f"{side} hard jets", int(np.count_nonzero(is_hard)))
            seen.add_number(f"{side} leading jet pT", found.pt.max(initial=0.0))
            for variable, edges in _JET_EDGES.items():
                seen.add_spectrum(f"{side} jets {variable}", getattr(found, variable), edges)
        response.add(*jets.match(of_targets, of_candidates))
