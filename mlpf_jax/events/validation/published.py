"""The published numbers about the data set: published.json, with its sources."""

import dataclasses
import functools
import json
from pathlib import Path
from typing import Any

import numpy as np

from mlpf_jax.events.validation import observables

FILE = Path(__file__).with_name("published.json")


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Published:
    """The published numbers of one process; unpublished ones are empty or None.

    `num_elements` is a mean over `num_elements_events`. Spectra are keyed by (class, variable) and
    contain the mean number of particles per event and bin, over `num_events`. Multiplicities are
    keyed by class and contain rows (targets, candidates), one per event. Efficiencies and fake
    rates are keyed by (class, variable). Responses are (mean, deviation).
    """

    num_elements: float | None = None
    num_elements_events: int | None = None
    num_events: int | None = None
    spectra: dict[tuple[str, str], np.ndarray] = dataclasses.field(default_factory=dict)
    multiplicities: dict[str, np.ndarray] = dataclasses.field(default_factory=dict)
    efficiencies: dict[tuple[str, str], np.ndarray] = dataclasses.field(default_factory=dict)
    fake_rates: dict[tuple[str, str], np.ndarray] = dataclasses.field(default_factory=dict)
    responses: dict[tuple[str, str], tuple[float, float]] = dataclasses.field(default_factory=dict)
    confusion: np.ndarray | None = None
    one_event: dict[str, float] = dataclasses.field(default_factory=dict)

    def mean_targets(self, name: str, *, first_bin: int = 0) -> float | None:
        """Returns the mean number of targets of a class per event, starting at a bin of pT."""
        if (name, "pt") not in self.spectra:
            return None
        # All values of eta are inside the edges; pT may be below the lowest or above the highest
        # edge.
        variable = "pt" if first_bin else "eta"
        return float(self.spectra[name, variable][first_bin:].sum())

    @property
    def mean_without_target(self) -> float | None:
        """The mean number of elements without a target per event."""
        if self.num_elements is None or not self.spectra:
            return None
        return self.num_elements - sum(self.mean_targets(n) or 0.0 for n in observables.PARTICLES)

    def share(self, name: str) -> float | None:
        """Returns the share of a class among all elements."""
        mean = self.mean_without_target if name == "none" else self.mean_targets(name)
        return None if mean is None or self.num_elements is None else mean / self.num_elements


@functools.cache
def sources() -> dict[str, str]:
    """Returns the source of each kind of number."""
    return _read()["sources"]


@functools.cache
def of_process(process: str) -> Published:
    """Returns the published numbers of "ttbar" or "qcd"; other processes have none."""
    numbers = _read()["processes"].get(process)
    if numbers is None:
        return Published()
    spectra = numbers["spectra"]
    return Published(
        num_elements=numbers["mean_num_elements"]["value"],
        num_elements_events=numbers["mean_num_elements"]["num_events"],
        num_events=spectra["num_events"],
        spectra={
            (name, variable): np.array(counts, np.float64) / spectra["num_events"]
            for variable in ("pt", "eta")
            for name, counts in spectra[variable]["counts"].items()
        },
        multiplicities={
            name: np.array([pair["targets"], pair["candidates"]], np.float64).T
            for name, pair in numbers["multiplicity"].items()
        },
        efficiencies=_by_variable(numbers.get("efficiency", {})),
        fake_rates=_by_variable(numbers.get("fake_rate", {})),
        responses={
            (name, variable): (pair[0], pair[1])
            for name, variables in numbers.get("response", {}).items()
            for variable, pair in variables.items()
        },
        confusion=np.array(numbers["confusion"]) if "confusion" in numbers else None,
        one_event={name: float(n) for name, n in numbers.get("one_event", {}).items()},
    )


def _by_variable(curves: dict[str, Any]) -> dict[tuple[str, str], np.ndarray]:
    return {
        (name, variable): np.array(curve["values"])
        for name, variables in curves.items()
        for variable, curve in variables.items()
    }


def _read() -> dict[str, Any]:
    return json.loads(FILE.read_text())
