"""Virtual environments for checkouts, made from the checkout's own lock by its own script.

They are cached by the digest of their inputs, so equal locks share one environment.
"""

import dataclasses
import hashlib
import os
import sys
from pathlib import Path

from mlpf_jax import atomic, cache, processes
from mlpf_jax.regress import checkouts

_SCRIPT = Path("tools") / "venv.sh"
_TIMEOUT_S = 900.0


@dataclasses.dataclass(frozen=True)
class Current:
    """The environment that this process runs in."""

    python: Path
    base_python: Path  # the interpreter that it was made with
    version: str
    made_from: Path  # the folder in which tools/venv.sh records the inputs of an environment

    @property
    def backend(self) -> str:
        """The name of its lock; `cpu` if it was not made by tools/venv.sh."""
        return (_content(self.made_from / "backend") or b"cpu").decode().strip()

    @property
    def lock(self) -> str:
        """The path in a checkout of the lock for this back end."""
        return f"locks/{self.backend}.txt"


def current() -> Current:
    """Returns the environment of this process."""
    prefix = Path(sys.base_prefix)
    name = f"python{sys.version_info.major}.{sys.version_info.minor}"
    return Current(
        Path(sys.executable), prefix / "bin" / name, sys.version, Path(sys.prefix) / "made-from"
    )


def python_of(
    checkout: checkouts.Checkout, log: Path, mine: Current, folder: Path | None = None
) -> Path:
    """Returns a Python with the packages of the checkout's lock, installed in `folder` if needed.

    `folder` defaults to the user's cache.

    The environment of this process is used if it was made from the same lock. The project itself is
    never imported from an environment: runs import it from the checkout's folder.

    Raises:
        ValueError: if the checkout has no such lock or no script that makes environments.
        RunFailedError: if the script fails.
    """
    lock = checkout.folder / mine.lock
    for needed in (lock, checkout.folder / _SCRIPT):
        if not needed.is_file():
            raise ValueError(
                f"{checkout.label} has no {needed.relative_to(checkout.folder)}: name a Python "
                "for it, --base_python= or --head_python=."
            )
    content = lock.read_bytes()
    if _content(mine.made_from / lock.name) == content:
        return mine.python
    folder = folder or cache.default_folder(
        "environments", "name Pythons by --base_python= and --head_python="
    )
    digest = hashlib.sha256(content + mine.version.encode()).hexdigest()[:16]
    venv = folder / f"{mine.backend}-{digest}"
    folder.mkdir(parents=True, exist_ok=True)
    with atomic.locked(folder), processes.naming(f"{checkout.label}: {_SCRIPT}"):
        processes.run(
            ["bash", str(_SCRIPT)],
            folder=checkout.folder,
            environ=os.environ
            | {"VENV": str(venv), "BACKEND": mine.backend, "PYTHON": str(mine.base_python)},
            log=log,
            timeout_s=_TIMEOUT_S,
        )
    return venv / "bin" / "python"


def _content(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except OSError:
        return None
