"""The particles that live long enough to reach the detector, and their properties."""

import numpy as np

# PDG code of the particle: (charge [e], mass [GeV]). K0S, Lambda, Sigma, Xi and Omega are listed
# because the generator does not decay particles with c tau above 10 mm. Neutrinos are not listed
# because the detector does not see them. Source: PDG, Review of Particle Physics (2020), as in
# Pythia 8.3.
_PARTICLES = {
    22: (0, 0.0),
    211: (1, 0.13957),
    321: (1, 0.49368),
    2212: (1, 0.93827),
    2112: (0, 0.93957),
    130: (0, 0.49761),
    310: (0, 0.49761),
    3122: (0, 1.11568),
    11: (-1, 0.000511),
    13: (-1, 0.10566),
    3222: (1, 1.18937),
    3112: (-1, 1.19745),
    3312: (-1, 1.32171),
    3322: (0, 1.31486),
    3334: (-1, 1.67245),
}
PHOTON, ELECTRON, MUON = 22, 11, 13
PION, K_LONG, K_SHORT, LAMBDA = 211, 130, 310, 3122
NEUTRINOS = (12, 14, 16)
_OWN_ANTIPARTICLES = (PHOTON, K_LONG, K_SHORT)


def _with_antiparticles() -> list[int]:
    codes = []
    for code in _PARTICLES:
        codes += [code] if code in _OWN_ANTIPARTICLES else [code, -code]
    return codes


# The three tables are indexed by the species number that a truth bank stores: their order is fixed.
PDG_ID = np.array(_with_antiparticles(), np.int32)
CHARGE = np.array([_PARTICLES[abs(c)][0] * (1 if c > 0 else -1) for c in PDG_ID.tolist()], np.int8)
MASS_GEV = np.array([_PARTICLES[abs(c)][1] for c in PDG_ID.tolist()], np.float64)
