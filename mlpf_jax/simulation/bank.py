"""The truth bank: stable particles of many generated collisions, in one npz file.

Generators are slow and not reproducible to the last bit, so the package contains their output. The
columns of each process (see `encoding`) are named process_column. Banks made by `bank_making` also
contain `provenance`, a JSON text.
"""

import dataclasses
import hashlib
import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from mlpf_jax.simulation import encoding, npz, particles

SHIPPED_BANK = Path(__file__).with_name("bank_4096.npz")
SHIPPED_SHA256 = "80b2b6b59017a9cdf8e9f4eab3c9644acdc654e2d7f4968ebd5228f0bb78478e"
SHIPPED_GENERATOR = "Pythia 8.317"
PILEUP = "minbias"
HARD_PROCESSES = ("ttbar", "qcd")


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Bank:
    """A truth bank in memory, the digest of its file, and its provenance."""

    sha256: str
    generator: str
    provenance: Mapping[str, Any]
    truth: Mapping[str, particles.TruthEvents]

    def events(self, process: str) -> particles.TruthEvents:
        """Returns the collisions of a process.

        Raises:
            ValueError: if the bank has no such process.
        """
        if process not in self.truth:
            raise ValueError(
                f"the truth bank has no process {process!r}; it has {', '.join(sorted(self.truth))}"
            )
        return self.truth[process]


def load_bank(path: Path | None = None) -> Bank:
    """Reads a truth bank; None reads the one in the package.

    Raises:
        ValueError: if the file is not a truth bank, or the one in the package is damaged.
        OSError: if the file cannot be read.
    """
    file = SHIPPED_BANK if path is None else path
    if file.stat().st_size > npz.MOST_BYTES:
        raise ValueError(f"{file} is not a truth bank: it has more than {npz.MOST_BYTES} bytes")
    content = file.read_bytes()
    sha256 = hashlib.sha256(content).hexdigest()
    if path is None and sha256 != SHIPPED_SHA256:
        raise ValueError(
            f"{file} is damaged: its sha256 is {sha256}, not {SHIPPED_SHA256}; "
            "install the package again"
        )
    try:
        columns = npz.read(io.BytesIO(content))
        provenance = _provenance(columns)
        truth = {name: encoding.decode(e) for name, e in _encoded_processes(columns).items()}
    except (ValueError, RecursionError) as error:
        reason = str(error).partition("\n")[0] or type(error).__name__
        raise ValueError(f"{file} is not a truth bank: {reason}") from error
    default = SHIPPED_GENERATOR if sha256 == SHIPPED_SHA256 else "unknown"
    return Bank(
        sha256=sha256,
        generator=str(provenance.get("generator", default)),
        provenance=provenance,
        truth=truth,
    )


def file_content(
    processes: Mapping[str, encoding.EncodedEvents], provenance: Mapping[str, Any]
) -> bytes:
    """Returns the bytes of a bank file. The provenance should name a `generator`."""
    columns = {"provenance": np.array(json.dumps(provenance, sort_keys=True))}
    for process, events in processes.items():
        columns |= {f"{process}_{name}": column for name, column in events.columns.items()}
    buffer = io.BytesIO()
    np.savez_compressed(buffer, allow_pickle=False, **columns)
    return buffer.getvalue()


def _provenance(columns: dict[str, np.ndarray]) -> dict[str, Any]:
    """Removes the provenance from the columns and returns it."""
    provenance = json.loads(str(columns.pop("provenance", "{}")))
    if not isinstance(provenance, dict):
        raise ValueError("its provenance is not a JSON object")  # noqa: TRY004
    return provenance


def _encoded_processes(columns: Mapping[str, np.ndarray]) -> dict[str, encoding.EncodedEvents]:
    """Returns the processes of a bank file."""
    names = sorted({column.partition("_")[0] for column in columns})
    if PILEUP not in names:
        raise ValueError(f"it lacks the process {PILEUP!r}")
    processes = {}
    for name in names:
        try:
            processes[name] = encoding.from_columns(columns, prefix=f"{name}_")
        except ValueError as error:
            raise ValueError(f"in {name}, {error}") from error
        if not processes[name].num_events:
            raise ValueError(f"{name} has no events")
    return processes
