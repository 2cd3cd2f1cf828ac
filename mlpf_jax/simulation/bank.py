"""The truth bank: stable particles of many generated collisions, 7 bytes each, in one npz file.

Generators are neither fast nor reproducible to the last bit, so what they made ships, not how.
Per process P the file holds `P_code` (species number, 1 byte), `P_pt` (log2 of pT), `P_eta` and
`P_phi` (2 bytes each, equal steps), `P_n` (particles per event), and for the few particles produced
more than 50 um from their collision `P_vi` (index) and `P_v` (x, y, z in mm). A bank that
`generator` made also holds `provenance`, a JSON text. Steps: pT 0.03 %, eta 1.6e-4, phi 1e-4.
"""

import dataclasses
import hashlib
import io
import json
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from jaxtyping import Float32, Float64, Int64, Shaped

from mlpf_jax.simulation import particles, portable, species

SHIPPED_BANK = Path(__file__).with_name("bank_4096.npz")
SHIPPED_SHA256 = "80b2b6b59017a9cdf8e9f4eab3c9644acdc654e2d7f4968ebd5228f0bb78478e"
SHIPPED_GENERATOR = "Pythia 8.317"
PILEUP = "minbias"
HARD_PROCESSES = ("ttbar", "qcd")

_COLUMNS = ("code", "pt", "eta", "phi", "n", "vi", "v")
_DTYPES = dict(zip(_COLUMNS, ("|u1", "<u2", "<u2", "<u2", "<u2", "<u4", "<f4"), strict=True))
_STEPS = 65536
# (lowest value, range) of the quantised columns.
_LOG2_PT = (-15.0, 30.0)
_ETA = (-5.4, 10.8)
_PHI = (-portable.PI, 2 * portable.PI)
_LN2 = 0.6931471805599453
# What zipfile, zlib, NumPy and json raise for damaged or foreign files.
_UNREADABLE = (
    EOFError,
    KeyError,
    NotImplementedError,
    OSError,
    RuntimeError,
    ValueError,
    zipfile.BadZipFile,
    zlib.error,
)

# Nothing beyond can reach |eta| = 5 on the calorimeter's face, whatever its vertex.
_MAX_ABS_ETA = 5.35
_MIN_PT_GEV = 4e-5
_MIN_DISPLACEMENT_MM = 0.05  # far below what the detector resolves


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class TruthEvents:
    """Collisions of one process; event i has the particles offsets[i] to offsets[i + 1]."""

    particles: particles.Particles
    offsets: Int64[np.ndarray, " events_plus_1"]

    @property
    def num_events(self) -> int:
        """How many collisions there are to draw from."""
        return len(self.offsets) - 1


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Bank:
    """A truth bank in memory, the digest of its file, and what made it."""

    sha256: str
    generator: str
    provenance: Mapping[str, object]
    truth: Mapping[str, TruthEvents]

    def events(self, process: str) -> TruthEvents:
        """Returns the collisions of a process.

        Raises:
            ValueError: The bank has no such process.
        """
        if process not in self.truth:
            raise ValueError(
                f"the truth bank has no process {process!r}; it has {', '.join(sorted(self.truth))}"
            )
        return self.truth[process]


def load_bank(path: Path | None = None) -> Bank:
    """Reads a truth bank; None reads the one that ships with the package.

    Raises:
        ValueError: The file is no truth bank, or the shipped one was altered; one line says how.
        OSError: The file cannot be read.
    """
    file = SHIPPED_BANK if path is None else path
    content = file.read_bytes()
    sha256 = hashlib.sha256(content).hexdigest()
    if path is None and sha256 != SHIPPED_SHA256:
        raise ValueError(
            f"{file} is damaged: its sha256 is {sha256}, not {SHIPPED_SHA256}; "
            "install the package again"
        )
    try:
        columns = _read_columns(content)
        provenance = _provenance(columns)
        truth = {name: _decode(columns, name) for name in _processes(columns)}
    except _UNREADABLE as error:
        reason = str(error).partition("\n")[0] or type(error).__name__
        raise ValueError(f"{file} is not a truth bank: {reason}") from error
    default = SHIPPED_GENERATOR if sha256 == SHIPPED_SHA256 else "unknown"
    return Bank(
        sha256=sha256,
        generator=str(provenance.get("generator", default)),
        provenance=provenance,
        truth=truth,
    )


def encode(
    events: particles.Particles, offsets: Int64[np.ndarray, " events_plus_1"]
) -> dict[str, Shaped[np.ndarray, "..."]]:
    """Quantises collisions into the columns of a bank file, without their process prefix.

    Vertices are kept relative to the z of each collision's first particle. Dropped are neutrinos
    and what flies outside the detector (|eta| above 5.35, pT below 40 keV).
    """
    counts = np.diff(offsets)
    event = np.repeat(np.arange(len(counts)), counts)
    code = _species_number(events.pdg_id)
    pt = np.hypot(events.px, events.py)
    eta = np.arcsinh(events.pz / np.maximum(pt, 1e-12))
    keep = (np.abs(eta) < _MAX_ABS_ETA) & (pt > _MIN_PT_GEV) & (code >= 0)
    vertex = np.stack([events.x, events.y, events.z - events.z[offsets[:-1]][event]], axis=1)
    vertex = vertex[keep].astype(np.float32)
    displaced = np.flatnonzero(np.abs(vertex).max(axis=1, initial=0.0) > _MIN_DISPLACEMENT_MM)
    return {
        "code": code[keep].astype(np.uint8),
        "pt": _quantise(np.log2(pt[keep]), _LOG2_PT),
        "eta": _quantise(eta[keep], _ETA),
        "phi": _quantise(np.arctan2(events.py, events.px)[keep], _PHI),
        "n": np.bincount(event[keep], minlength=len(counts)).astype(np.uint16),
        "vi": displaced.astype(np.uint32),
        "v": vertex[displaced],
    }


def _species_number(pdg_id: np.ndarray) -> Int64[np.ndarray, " particles"]:
    """Returns each particle's index in the species tables, -1 for what they do not list."""
    order = np.argsort(species.PDG_ID)
    place = np.searchsorted(species.PDG_ID, pdg_id, sorter=order).clip(max=len(order) - 1)
    return np.where(species.PDG_ID[order[place]] == pdg_id, order[place], -1)


def _quantise(
    values: Float64[np.ndarray, " particles"], scale: tuple[float, float]
) -> Shaped[np.ndarray, " particles"]:
    lowest, extent = scale
    steps = np.floor((values - lowest) / (extent / _STEPS))
    return np.clip(steps, 0, _STEPS - 1).astype(np.uint16)


def _read_columns(content: bytes) -> dict[str, np.ndarray]:
    if not content.startswith(b"PK"):  # np.load would take it for another format
        raise ValueError("it is not an npz archive")
    with np.load(io.BytesIO(content), allow_pickle=False) as archive:
        return {name: archive[name] for name in archive.files}


def _provenance(columns: dict[str, np.ndarray]) -> dict[str, object]:
    """Takes what made the bank out of its columns."""
    provenance = json.loads(str(columns.pop("provenance", "{}")))
    if not isinstance(provenance, dict):
        raise ValueError("its provenance is no JSON object")  # noqa: TRY004
    return provenance


def _processes(columns: Mapping[str, np.ndarray]) -> list[str]:
    """Returns the processes of a bank file whose columns fit together."""
    names = sorted({column.partition("_")[0] for column in columns})
    if PILEUP not in names:
        raise ValueError(f"it lacks the process {PILEUP!r}")
    for name in names:
        _check_columns(columns, name)
    return names


def _check_columns(columns: Mapping[str, np.ndarray], name: str) -> None:
    for column, dtype in _DTYPES.items():
        if f"{name}_{column}" not in columns:
            raise ValueError(f"the column {name}_{column} is missing")
        if (found := columns[f"{name}_{column}"].dtype.str) != dtype:
            raise ValueError(f"{name}_{column} has the type {found}, not {dtype}")
    code, pt, eta, phi, n, vi, v = (columns[f"{name}_{c}"] for c in _COLUMNS)
    num_particles = int(n.sum(dtype=np.int64))
    if not (code.shape == pt.shape == eta.shape == phi.shape == (num_particles,)):
        raise ValueError(f"the columns of {name} differ in length")
    if n.ndim != 1 or len(n) == 0:
        raise ValueError(f"{name} has no events")
    if num_particles and code.max() >= len(species.PDG_ID):
        raise ValueError(f"{name}_code names an unknown species")
    if vi.ndim != 1 or v.shape != (len(vi), 3) or (len(vi) and vi.max() >= num_particles):
        raise ValueError(f"the displaced vertices of {name} do not fit its particles")
    if not np.isfinite(v).all():
        raise ValueError(f"{name}_v has numbers that are not finite")


def _decode(columns: Mapping[str, np.ndarray], name: str) -> TruthEvents:
    """Turns the columns of a process into momenta, by exact arithmetic only."""
    code, log2_pt, eta, phi, n, vi, v = (columns[f"{name}_{c}"] for c in _COLUMNS)
    pt = portable.exp(
        (log2_pt.astype(np.float64) + 0.5) * (_LOG2_PT[1] / _STEPS * _LN2) + _LOG2_PT[0] * _LN2
    )
    sinh_eta, cosh_eta = portable.sinh_cosh(_bin_centres(eta, _ETA))
    sin_phi, cos_phi = portable.sin_cos(_bin_centres(phi, _PHI))
    momentum, mass = pt * cosh_eta, species.MASS_GEV[code]
    x, y, z = (_sparse(vi, v[:, axis], size=len(code)) for axis in range(3))
    return TruthEvents(
        particles=particles.Particles(
            pdg_id=species.PDG_ID[code],
            charge=species.CHARGE[code],
            px=pt * cos_phi,
            py=pt * sin_phi,
            pz=pt * sinh_eta,
            energy=np.sqrt(momentum * momentum + mass * mass),
            x=x,
            y=y,
            z=z,
        ),
        offsets=np.concatenate([[0], np.cumsum(n.astype(np.int64))]),
    )


def _bin_centres(
    steps: Shaped[np.ndarray, " particles"], scale: tuple[float, float]
) -> Float64[np.ndarray, " particles"]:
    lowest, extent = scale
    return (steps.astype(np.float64) + 0.5) * (extent / _STEPS) + lowest


def _sparse(
    indices: Shaped[np.ndarray, " displaced"],
    values: Float32[np.ndarray, " displaced"],
    *,
    size: int,
) -> Float64[np.ndarray, " {size}"]:
    column = np.zeros(size)
    column[indices] = values
    return column
