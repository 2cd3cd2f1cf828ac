"""Jets: anti-kt with a radius of 0.4, with FastJet (extra `validate`).

Source: M. Cacciari, G. P. Salam, G. Soyez, JHEP 0804:063 (arXiv:0802.1189); arXiv:1111.6097.
"""

import contextlib
import dataclasses
import importlib
import importlib.util
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float64

from mlpf_jax.events.validation import observables

RADIUS = 0.4
MIN_PT_GEV = 20.0
MAX_MATCHING_DISTANCE = 0.2


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Jets:
    """The jets of one event, hardest first."""

    pt: Float64[np.ndarray, " jets"]
    eta: Float64[np.ndarray, " jets"]
    phi: Float64[np.ndarray, " jets"]

    def __len__(self) -> int:
        return len(self.pt)


def is_available() -> bool:
    """Whether FastJet is installed."""
    return importlib.util.find_spec("fastjet") is not None


def cluster(events: Sequence[observables.Particles]) -> list[Jets]:
    """Returns the jets above 20 GeV of each event, from its particles of any class.

    Particles without a class are excluded. Energies are raised to at least the momentum.
    """
    fastjet, awkward = importlib.import_module("fastjet"), importlib.import_module("awkward")
    _silence()
    rows = [_four_momenta(particles) for particles in events]
    columns = np.concatenate(rows, axis=1)
    lengths = [row.shape[1] for row in rows]
    momenta = awkward.zip(
        {
            name: awkward.unflatten(column, lengths)
            for name, column in zip(("px", "py", "pz", "E"), columns, strict=True)
        },
        with_name="Momentum4D",
    )
    definition = fastjet.JetDefinition(fastjet.antikt_algorithm, RADIUS)
    found = fastjet.ClusterSequence(momenta, definition).inclusive_jets(min_pt=MIN_PT_GEV)
    return [
        _jets(*(awkward.to_numpy(event[name]) for name in ("px", "py", "pz"))) for event in found
    ]


def _silence() -> None:
    """Suppresses FastJet's banner; the citation that it requests is in the module's docstring."""
    with contextlib.suppress(ImportError, AttributeError):
        inner = importlib.import_module("fastjet._swig")
        inner.ClusterSequence.set_fastjet_banner_stream(None)


def _four_momenta(particles: observables.Particles) -> Float64[np.ndarray, "4 particles"]:
    exists = particles.class_id > 0
    px, py, pt = particles.px[exists], particles.py[exists], particles.pt[exists]
    momentum = pt * np.cosh(particles.eta[exists])
    energy = np.maximum(particles.energy[exists], momentum)
    return np.stack([px, py, pt * np.sinh(particles.eta[exists]), energy])


def _jets(px: np.ndarray, py: np.ndarray, pz: np.ndarray) -> Jets:
    pt = np.hypot(px, py)
    order = np.argsort(-pt, kind="stable")
    eta, phi = np.arcsinh(pz / pt), np.arctan2(py, px)
    return Jets(pt=pt[order], eta=eta[order], phi=phi[order])


def match(targets: Jets, candidates: Jets) -> tuple[np.ndarray, np.ndarray]:
    """Returns the pT of target jets and of their nearest candidate jets, for jets that match."""
    if not len(targets) or not len(candidates):
        return np.zeros(0), np.zeros(0)
    delta_eta = targets.eta[:, None] - candidates.eta
    delta_phi = np.mod(targets.phi[:, None] - candidates.phi + np.pi, 2 * np.pi) - np.pi
    distance = np.hypot(delta_eta, delta_phi)
    nearest = distance.argmin(axis=1)
    is_near = distance.min(axis=1) < MAX_MATCHING_DISTANCE
    return targets.pt[is_near], candidates.pt[nearest[is_near]]
