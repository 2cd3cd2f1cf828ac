"""Reserves a folder for runs that belong together. Needs neither JAX nor the schema of reports."""

import contextlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from mlpf_jax import atomic
from mlpf_jax.report import checksums

_FILE, _LOCK = "plan.json", ".lock"


@contextlib.contextmanager
def held(out: Path) -> Iterator[None]:
    """Lets one program at a time measure in `out`, if its file system has locks.

    Raises:
        ValueError: if another one does.
        OSError: if it cannot be written.
    """
    out.mkdir(parents=True, exist_ok=True)
    with (out / _LOCK).open("wb") as file:
        if not atomic.hold(file.fileno()):
            raise ValueError(f"--out={out}: another study is measuring in it.")
        yield


def claim(out: Path, plan: Mapping[str, Any], *, must_be_new: bool = False) -> None:
    """Reserves `out` for calls with an equal plan, by the same version of this package.

    With `must_be_new`, a folder with other files and no plan is refused.

    Raises:
        ValueError: if it has runs of another plan; one line with the difference.
        OSError: if it cannot be written.
    """
    own = {**plan, "package_md5": checksums.code_md5()}
    path = out / _FILE
    if not path.exists():
        if must_be_new and out.exists() and any(out.iterdir()):
            raise ValueError(f"--out={out}: not empty, and not a folder of this program.")
        out.mkdir(parents=True, exist_ok=True)
        atomic.write_file(path, (json.dumps(own, indent=2) + "\n").encode())
        return
    try:
        found: Mapping[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        different = [name for name, value in own.items() if found[name] != value]
    except (ValueError, KeyError, TypeError):
        raise ValueError(f"{path}: not the plan of a study. Choose another --out.") from None
    if different:
        raise ValueError(
            f"--out={out} contains runs with different {', '.join(different)}, which cannot be "
            "mixed with new ones. Choose another --out."
        )
