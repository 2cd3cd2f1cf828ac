"""Commits laid out in folders of their own, by git worktree."""

import contextlib
import dataclasses
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

_TIMEOUT_S = 120


@dataclasses.dataclass(frozen=True)
class Checkout:
    """A folder with the files of a commit, or with those that are being worked on."""

    folder: Path
    label: str


def top_folder(folder: Path) -> Path:
    """Returns the top of the checkout that `folder` lies in.

    Raises:
        ValueError: if it lies in none.
    """
    return Path(_git(folder, "rev-parse", "--show-toplevel"))


def default_base(top: Path) -> str:
    """Returns the commit that a change is held against if none is named.

    It is the merge base with origin/main; without that, the one with the parent of main.

    Raises:
        ValueError: if there is neither.
    """
    for other in ("origin/main", "main~1"):
        with contextlib.suppress(ValueError):
            return _git(top, "merge-base", "HEAD", other)
    raise ValueError("no origin/main and no parent of main to compare with: name one by --base=.")


def working_tree(top: Path) -> Checkout:
    """Returns the files as they stand, with changes that are not committed."""
    commit = _git(top, "rev-parse", "--short=12", "HEAD")
    is_dirty = _git(top, "status", "--porcelain", "--untracked-files=no")
    return Checkout(top, f"{commit} with changes" if is_dirty else commit)


@contextlib.contextmanager
def worktree(top: Path, revision: str, folder: Path) -> Iterator[Checkout]:
    """Yields the commit's files in the new folder `folder`, which is removed afterwards.

    Raises:
        ValueError: if there is no such commit, or it cannot be laid out.
    """
    commit = _git(top, "rev-parse", "--verify", "--end-of-options", f"{revision}^{{commit}}")
    try:
        _git(top, "worktree", "add", "--quiet", "--detach", str(folder), commit)
        yield Checkout(folder, commit[:12])
    finally:
        with contextlib.suppress(ValueError):  # not there: it could not be laid out
            _git(top, "worktree", "remove", "--force", str(folder))


def _git(folder: Path, *arguments: str) -> str:
    """Asks git, without hooks and whatever repository the environment names."""
    environ = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    command = ["git", "-C", str(folder), "-c", f"core.hooksPath={os.devnull}", *arguments]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=_TIMEOUT_S, check=False, env=environ
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ValueError(f"git {arguments[0]}: {error}") from None
    if done.returncode:
        lines = done.stderr.strip().splitlines() or ["failed"]
        raise ValueError(f"git {arguments[0]}: {lines[-1]}")
    return done.stdout.strip()
