"""Observables of a set of events: counts, spectra, responses, efficiencies and confusion.

Everything is accumulated event by event, so memory does not grow with the number of particles.
Where particles of an event are correlated, statistical errors come from the scatter between events.
Candidates of tracks have no energy and candidates of towers have no pT: the missing value is
computed for a massless particle. As in the published figures, only the first 6400 elements of an
event count.
"""

import dataclasses
from collections.abc import Mapping

import numpy as np
from jaxtyping import Float64, Int64
from scipy import stats

from mlpf_jax.events import store

CLASSES = ("none", "charged_hadron", "neutral_hadron", "photon", "electron", "muon")
PARTICLES = CLASSES[1:]
MAX_ELEMENTS = 6400
TOWER_TYPE, TRACK_TYPE = 1, 2

# The first two are the binnings of the published spectra.
EDGES = {
    "pt": np.linspace(0.0, 100.0, 41),
    "eta": np.linspace(-8.0, 8.0, 41),
    "energy": np.geomspace(0.1, 1000.0, 41),
}
HARD_PT_GEV = 2.5  # lower edge of the second bin of pT
# (class, variable): from, to. 60 bins, as in the published spectra.
EFFICIENCY_RANGES = {
    ("charged_hadron", "pt"): (0.0, 3.0),
    ("charged_hadron", "eta"): (-3.0, 3.0),
    ("neutral_hadron", "energy"): (5.0, 55.0),
    ("neutral_hadron", "eta"): (-6.0, 6.0),
    ("photon", "energy"): (0.0, 30.0),
    ("photon", "eta"): (-6.0, 6.0),
    ("electron", "eta"): (-6.0, 6.0),
    ("muon", "eta"): (-6.0, 6.0),
}
EFFICIENCY_BINS = 60
RESPONSES = (
    ("charged_hadron", "pt"),
    ("charged_hadron", "eta"),
    ("neutral_hadron", "energy"),
    ("neutral_hadron", "eta"),
    ("photon", "energy"),
    ("electron", "pt"),
    ("muon", "pt"),
)
RESPONSE_EDGES = np.linspace(-1.0, 1.0, 81)
_MAX_ABS_ETA = 30.0  # values beyond are implausible and must not overflow
_ONE_SIGMA = 0.6827  # share of a normal distribution within one standard deviation
_MAX_RESPONSE = 10.0  # values beyond are clipped, as in the published figures


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Particles:
    """The targets or candidates of one event, including rows of elements without one."""

    class_id: Int64[np.ndarray, " rows"]
    pt: Float64[np.ndarray, " rows"]
    eta: Float64[np.ndarray, " rows"]
    px: Float64[np.ndarray, " rows"]
    py: Float64[np.ndarray, " rows"]
    energy: Float64[np.ndarray, " rows"]

    @property
    def counts(self) -> Int64[np.ndarray, "6"]:
        """Number of rows of each class."""
        return np.bincount(self.class_id, minlength=len(CLASSES))


def particles_of(rows: np.ndarray) -> Particles:
    """Reads the columns of targets or candidates and fills in missing pT and energy.

    Raises:
        ValueError: if a class is invalid.
    """
    class_id, _, pt, eta, sin_phi, cos_phi, energy = rows[:MAX_ELEMENTS].astype(np.float64).T
    cosh_eta = np.cosh(np.clip(eta, -_MAX_ABS_ETA, _MAX_ABS_ETA))
    pt = np.where(pt > 0, pt, energy / cosh_eta)
    if not np.isin(class_id, range(len(CLASSES))).all():
        raise ValueError(f"classes are 0 to {len(CLASSES) - 1}")
    return Particles(
        class_id=class_id.astype(np.int64),
        pt=pt,
        eta=eta,
        px=pt * cos_phi,
        py=pt * sin_phi,
        energy=np.where(energy > 0, energy, pt * cosh_eta),
    )


class Spectrum:
    """A histogram of particles with the scatter of its bins between events."""

    def __init__(self, edges: Float64[np.ndarray, " edges"]) -> None:
        self.edges = edges
        self.counts = np.zeros(len(edges) - 1)
        self._squares = np.zeros(len(edges) - 1)
        self._products = np.zeros(len(edges) - 1)
        self._total_squares = 0.0
        self._num_events = 0

    def add(self, values: Float64[np.ndarray, " particles"]) -> None:
        """Counts the particles of one event."""
        counts = np.histogram(values, self.edges)[0].astype(np.float64)
        total = counts.sum()
        self.counts += counts
        self._squares += counts * counts
        self._products += counts * total
        self._total_squares += total * total
        self._num_events += 1

    @property
    def per_event(self) -> Float64[np.ndarray, " bins"]:
        """Mean number of particles per event."""
        return self.counts / self._num_events

    @property
    def per_event_errors(self) -> Float64[np.ndarray, " bins"]:
        """Statistical errors of `per_event`."""
        variance = self._squares / self._num_events - self.per_event**2
        return np.sqrt(np.maximum(variance, 0.0) / self._num_events)

    @property
    def total_error(self) -> float:
        """Statistical error of the mean number of particles per event inside the edges."""
        mean = float(self.per_event.sum())
        variance = self._total_squares / self._num_events - mean**2
        return float(np.sqrt(max(variance, 0.0) / self._num_events))

    @property
    def fractions(self) -> Float64[np.ndarray, " bins"]:
        """Share of all particles inside the edges: the shape."""
        return self.counts / max(self.counts.sum(), 1.0)

    @property
    def fraction_errors(self) -> Float64[np.ndarray, " bins"]:
        """Statistical errors of `fractions`, for events as independent clusters of particles."""
        f, total = self.fractions, max(self.counts.sum(), 1.0)
        squares = self._squares - 2 * f * self._products + f * f * self._total_squares
        return np.sqrt(np.maximum(squares, 0.0)) / total


class Response:
    """The distribution of (candidate - target) / target."""

    def __init__(self) -> None:
        self.counts = np.zeros(len(RESPONSE_EDGES) - 1)
        self.num = 0
        self._powers = np.zeros(4)

    def add(self, target: np.ndarray, candidate: np.ndarray) -> None:
        """Adds pairs of values; a target of 0 has no response."""
        usable = target != 0
        ratio = (candidate[usable] - target[usable]) / target[usable]
        ratio = np.clip(ratio, -_MAX_RESPONSE, _MAX_RESPONSE)
        self.counts += np.histogram(ratio, RESPONSE_EDGES)[0]
        self.num += len(ratio)
        self._powers += [(ratio**k).sum() for k in (1, 2, 3, 4)]

    @property
    def mean(self) -> float:
        """Mean response: the bias of the reconstruction."""
        return float(self._powers[0] / max(self.num, 1))

    @property
    def deviation(self) -> float:
        """Standard deviation: the resolution."""
        return float(np.sqrt(max(self._powers[1] / max(self.num, 1) - self.mean**2, 0.0)))

    @property
    def mean_error(self) -> float:
        """Statistical error of the mean."""
        return self.deviation / max(self.num, 1) ** 0.5

    @property
    def deviation_error(self) -> float:
        """Statistical error of the standard deviation, from the fourth moment."""
        m1, m2, m3, m4 = self._powers / max(self.num, 1)
        fourth = m4 - 4 * m1 * m3 + 6 * m1**2 * m2 - 3 * m1**4
        variance = self.deviation**2
        if not variance:
            return 0.0
        return float(np.sqrt(max(fourth - variance**2, 0.0) / (4 * variance * self.num)))


def share_error(found: float, num: float) -> float:
    """Returns the statistical error of the share `found` of `num` independent particles.

    It is half the width of Wilson's interval at one standard deviation. Unlike the Gaussian error,
    it is not 0 if none or all are found. Without particles, the share is unknown and the error is
    0.5.

    Source: Brown, Cai and DasGupta, Stat. Sci. 16 (2001) 101.
    """
    if not num:
        return 0.5
    interval = stats.binomtest(int(found), int(num)).proportion_ci(_ONE_SIGMA, method="wilson")
    return float(interval.high - interval.low) / 2


class Efficiency:
    """The share of particles that are found, in bins of one of their variables."""

    def __init__(self, low: float, high: float) -> None:
        self.edges = np.linspace(low, high, EFFICIENCY_BINS + 1)
        self.all = np.zeros(EFFICIENCY_BINS)
        self.found = np.zeros(EFFICIENCY_BINS)

    def add(self, values: np.ndarray, is_found: np.ndarray) -> None:
        """Counts particles, and the found ones among them."""
        self.all += np.histogram(values, self.edges)[0]
        self.found += np.histogram(values[is_found], self.edges)[0]

    @property
    def values(self) -> Float64[np.ndarray, " bins"]:
        """Share of the found particles; 0 in empty bins."""
        return self.found / np.maximum(self.all, 1.0)

    @property
    def errors(self) -> Float64[np.ndarray, " bins"]:
        """Statistical errors for independent particles."""
        return np.array([share_error(*bin) for bin in zip(self.found, self.all, strict=True)])


class Observables:
    """All observables that are accumulated over a set of events, except for jets.

    `per_event` lists one number per event under names such as "tracks" or "targets photon";
    `spectra` has names such as "tracks pt" or "targets photon pt". Efficiencies are the share of
    targets whose candidate is of their class, fake rates the share of a class' candidates whose
    target is of another, both against the target's variable.
    """

    def __init__(self) -> None:
        self.per_event: dict[str, list[float]] = {}
        self.spectra: dict[str, Spectrum] = {}
        self.responses = {key: Response() for key in RESPONSES}
        self.efficiencies = {key: Efficiency(*r) for key, r in EFFICIENCY_RANGES.items()}
        self.fake_rates = {key: Efficiency(*r) for key, r in EFFICIENCY_RANGES.items()}
        self.confusion = np.zeros((len(CLASSES), len(CLASSES)), np.int64)
        self.num_cut = 0

    def add(self, event: store.Event) -> tuple[Particles, Particles]:
        """Adds an event and returns its targets and its candidates."""
        targets, candidates = particles_of(event.targets), particles_of(event.candidates)
        self.num_cut += len(event.elements) > MAX_ELEMENTS
        self._add_inputs(event.elements)
        for side, particles in (("targets", targets), ("candidates", candidates)):
            self._add_particles(side, particles)
        self._add_pairs(targets, candidates)
        return targets, candidates

    def add_number(self, name: str, value: float | int) -> None:
        """Adds one number of the present event."""
        self.per_event.setdefault(name, []).append(float(value))

    def add_spectrum(self, name: str, values: np.ndarray, edges: np.ndarray) -> None:
        """Adds the values of the present event's particles."""
        self.spectra.setdefault(name, Spectrum(edges)).add(values)

    def numbers(self) -> Mapping[str, Float64[np.ndarray, " events"]]:
        """Returns `per_event` as arrays."""
        return {name: np.array(values) for name, values in self.per_event.items()}

    def _add_inputs(self, elements: np.ndarray) -> None:
        rows = elements.astype(np.float64)
        is_track = rows[:, 0] == TRACK_TYPE
        tracks, towers = rows[is_track], rows[~is_track]
        counts = {
            "elements": len(rows),
            "tracks": len(tracks),
            "towers": len(towers),
            "ECAL towers": int(np.count_nonzero(towers[:, 6])),
            "HCAL towers": int(np.count_nonzero(towers[:, 7])),
        }
        for name, count in counts.items():
            self.add_number(name, count)
        for name, table in (("tracks", tracks), ("towers", towers)):
            for variable, column in (("pt", 1), ("eta", 2), ("energy", 5)):
                self.add_spectrum(f"{name} {variable}", table[:, column], EDGES[variable])

    def _add_particles(self, side: str, particles: Particles) -> None:
        for class_id, count in enumerate(particles.counts.tolist()):
            self.add_number(f"{side} {CLASSES[class_id]}", count)
            if class_id == 0:
                continue
            selected = particles.class_id == class_id
            num_hard = int(np.count_nonzero(particles.pt[selected] >= HARD_PT_GEV))
            self.add_number(f"{side} {CLASSES[class_id]} above 2.5 GeV", num_hard)
            for variable, edges in EDGES.items():
                values = getattr(particles, variable)[selected]
                self.add_spectrum(f"{side} {CLASSES[class_id]} {variable}", values, edges)
        exists = particles.class_id > 0
        missing = np.hypot(particles.px[exists].sum(), particles.py[exists].sum())
        self.add_number(f"{side} missing pT", missing)

    def _add_pairs(self, targets: Particles, candidates: Particles) -> None:
        np.add.at(self.confusion, (targets.class_id, candidates.class_id), 1)
        for (name, variable), response in self.responses.items():
            both = _is_class(targets, name) & _is_class(candidates, name)
            response.add(getattr(targets, variable)[both], getattr(candidates, variable)[both])
        for (name, variable), efficiency in self.efficiencies.items():
            values = getattr(targets, variable)
            of_class, taken_for = _is_class(targets, name), _is_class(candidates, name)
            efficiency.add(values[of_class], taken_for[of_class])
            claimed = taken_for & (targets.class_id > 0)
            self.fake_rates[name, variable].add(values[claimed], ~of_class[claimed])


def _is_class(particles: Particles, name: str) -> np.ndarray:
    return particles.class_id == CLASSES.index(name)
