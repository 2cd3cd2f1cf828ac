"""HEPscore's checksums of a workload: of its code and of its data."""

import hashlib
from collections.abc import Iterable

from mlpf_jax.measure import environment


def package_md5() -> str:
    """Returns an MD5 of the package's own files, names included: HEPscore's `bmk_checksum`."""
    digest = hashlib.md5(usedforsecurity=False)
    files = sorted(p for p in environment.PACKAGE.rglob("*") if p.is_file())
    for path in files:
        if path.suffix in (".py", ".json", ".npz"):
            digest.update(path.relative_to(environment.PACKAGE).as_posix().encode())
            digest.update(path.read_bytes())
    return digest.hexdigest()


def data_md5(digests: Iterable[str]) -> str:
    """Returns an MD5 over content digests of events: HEPscore's `bmkdata_checksum`."""
    return hashlib.md5("".join(digests).encode(), usedforsecurity=False).hexdigest()
