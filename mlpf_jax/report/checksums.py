"""HEPscore's checksums of the code and the data of a workload."""

import hashlib
from collections.abc import Iterable
from pathlib import Path

from mlpf_jax.measure import environment

# The code of the measured work and its timing. Code that reads, shows or compares results, or
# verifies the network, may change without making it a different program.
MEASURED = (
    "config.py",
    "events",
    "hosts",
    "measure/jax_options.py",  # the pinned options
    "measure/timing.py",
    "measure/variables.py",  # likewise
    "measure/window.py",
    "measure/xla_flags.py",
    "model",
    "run",
    "runtime.py",
    "simulation",
    "training",
)
KIND = "measured code"  # what `code_md5` covers; older reports have no kind: "package"
_SUFFIXES = (".py", ".json", ".npz")


def code_md5(package: Path = environment.PACKAGE) -> str:
    """Returns an MD5 of the files in `MEASURED`, names included: HEPscore's `bmk_checksum`."""
    digest = hashlib.md5(usedforsecurity=False)
    for path in sorted(file for name in MEASURED for file in _files(package / name)):
        digest.update(path.relative_to(package).as_posix().encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()


def _files(path: Path) -> list[Path]:
    found = path.rglob("*") if path.is_dir() else [path]
    return [file for file in found if file.suffix in _SUFFIXES]


def data_md5(digests: Iterable[str]) -> str:
    """Returns an MD5 over content digests of events: HEPscore's `bmkdata_checksum`."""
    return hashlib.md5("".join(digests).encode(), usedforsecurity=False).hexdigest()
