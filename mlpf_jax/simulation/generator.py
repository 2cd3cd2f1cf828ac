"""Generates proton collisions at 14 TeV with Pythia 8, with the settings of the public data set.

This is the only module that needs Pythia, and it imports it on first use. Every collision has its
own seed and does not depend on previous collisions.

Source: the settings files generatePileUpCMS.cmnd, pythia8_ttbar.cmnd and pythia8_qcd.cmnd of
github.com/jpata/particleflow (delphes/), 2021, of which the last assignment of each key counts.
"""

import hashlib
import importlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from mlpf_jax.simulation import particles

SETTINGS = (
    "Beams:idA = 2212",
    "Beams:idB = 2212",
    "Beams:eCM = 14000.",
    "PDF:pSet = 13",
    "PDF:extrapolate = on",
    "Tune:ee = 7",
    "Tune:pp = 14",
    # The following values are from ATLAS' A14 tune, on top of Monash.
    "SpaceShower:rapidityOrder = on",
    "SigmaProcess:alphaSvalue = 0.140",
    "SpaceShower:pT0Ref = 1.56",
    "SpaceShower:pTmaxFudge = 0.91",
    "SpaceShower:pTdampFudge = 1.05",
    "SpaceShower:alphaSvalue = 0.127",
    "TimeShower:alphaSvalue = 0.127",
    "BeamRemnants:primordialKThard = 1.88",
    "MultipartonInteractions:pT0Ref = 2.09",
    "MultipartonInteractions:alphaSvalue = 0.126",
    "ParticleDecays:limitTau0 = on",
    "ParticleDecays:tau0Max = 10",  # mm/c: K0S, Lambda and longer-lived particles stay stable
    "ColourReconnection:reconnect = on",
    "ColourReconnection:range = 1.71",
    "Print:quiet = on",
)
PROCESS_SETTINGS = {
    "minbias": (
        "SoftQCD:nonDiffractive = on",
        "SoftQCD:singleDiffractive = on",
        "SoftQCD:doubleDiffractive = on",
    ),
    "ttbar": ("Top:gg2ttbar = on", "Top:qqbar2ttbar = on", "6:m0 = 172.5"),
    "qcd": ("HardQCD:all = on", "PhaseSpace:pTHatMin = 20", "6:m0 = 172.5"),
}
PROCESSES = tuple(PROCESS_SETTINGS)

# Pythia has 900 million seeds. Each process uses a third of them, and each `seed` of a bank a
# hundredth of that third, so that no two collisions share a seed.
MAX_EVENTS = 3_000_000
MAX_SEED = 99
_SEEDS_PER_PROCESS = MAX_EVENTS * (MAX_SEED + 1)
_MAX_ATTEMPTS = 100  # Pythia fails on one collision in a hundred thousand


class Generator:
    """A Pythia instance for one process."""

    def __init__(self, process: str) -> None:
        """Starts Pythia, which takes seconds.

        Raises:
            ValueError: if Pythia is not installed, or rejects a setting.
        """
        pythia8mc = _import_pythia()
        self._pythia = pythia8mc.Pythia("", False)
        for setting in (*SETTINGS, *PROCESS_SETTINGS[process]):
            if not self._pythia.readString(setting):
                raise ValueError(f"{version()} rejects the setting {setting!r}")
        if not self._pythia.init():
            raise ValueError(f"{version()} does not start with the settings of {process}")

    def generate(self, seeds: Sequence[int]) -> particles.TruthEvents:
        """Generates one collision per seed and returns its stable particles, including neutrinos.

        Raises:
            OSError: if Pythia failed repeatedly.
        """
        rows, counts = [], []
        for seed in seeds:
            self._pythia.rndm.init(seed)
            if not any(self._pythia.next() for _ in range(_MAX_ATTEMPTS)):
                raise OSError(f"{version()} cannot generate the collision with seed {seed}")
            stable = [_columns(p) for p in self._pythia.event if p.isFinal()]
            rows += stable
            counts.append(len(stable))
        pdg_id, charge, *floats = np.array(rows, np.float64).reshape(-1, 9).T
        px, py, pz, energy, x, y, z = floats
        return particles.TruthEvents(
            particles=particles.Particles(
                pdg_id=pdg_id.astype(np.int32),
                charge=charge.astype(np.int8),
                px=px,
                py=py,
                pz=pz,
                energy=energy,
                x=x,
                y=y,
                z=z,
            ),
            offsets=np.cumsum([0, *counts]),
        )


def version() -> str:
    """Returns the name of the generator, as "Pythia 8.317".

    Raises:
        ValueError: if it is not installed.
    """
    pythia = _import_pythia().Pythia("", False)
    return f"Pythia {pythia.parm('Pythia:versionNumber'):.3f}"


def settings_sha256() -> str:
    """Returns the digest of all settings in their order."""
    lines = [*SETTINGS]
    for process, settings in PROCESS_SETTINGS.items():
        lines += [process, *settings]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def first_seed(process: str, seed: int) -> int:
    """Returns Pythia's seed for the first collision of a process; the others follow."""
    return 1 + PROCESSES.index(process) * _SEEDS_PER_PROCESS + seed * MAX_EVENTS


def _import_pythia() -> Any:
    try:
        return importlib.import_module("pythia8mc")
    except ImportError as error:
        raise ValueError(
            f"Pythia cannot be loaded ({error}): pip install 'mlpf_jax[generate]'"
        ) from error


def _columns(particle: Any) -> tuple[float, ...]:
    return (
        float(particle.id()),
        particle.charge(),
        particle.px(),
        particle.py(),
        particle.pz(),
        particle.e(),
        particle.xProd(),
        particle.yProd(),
        particle.zProd(),
    )
