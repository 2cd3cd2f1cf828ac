"""Checks out commits into separate folders with git worktree."""

import contextlib
import dataclasses
import hashlib
import os
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

_TIMEOUT_S = 120
_SHALLOW = (
    "this clone is shallow: git fetch --unshallow (in GitHub's checkout action: fetch-depth: 0)"
)


@dataclasses.dataclass(frozen=True)
class Checkout:
    """A folder with the files of a commit, or the working tree."""

    folder: Path
    label: str
    commit: str  # the commit, or the one that the working tree is based on

    def digest(self, names: Sequence[str]) -> str:
        """Returns a digest of the contents of files and folders, but for what Python compiled."""
        found = hashlib.sha256()
        tops = [self.folder / name for name in names]
        for path in sorted({inside for top in tops for inside in (top, *top.rglob("*"))}):
            if path.is_file() and "__pycache__" not in path.parts:
                content = hashlib.sha256(path.read_bytes()).hexdigest()
                name = path.relative_to(self.folder)
                found.update(f"{name}\0{content}\n".encode(errors="replace"))
        return found.hexdigest()


def top_folder(folder: Path) -> Path:
    """Returns the top folder of the checkout that contains `folder`.

    Raises:
        ValueError: if there is none.
    """
    return Path(_git(folder, "rev-parse", "--show-toplevel"))


def default_base(top: Path) -> str:
    """Returns the default commit to compare a change with.

    It is the merge base with origin/main or, if that does not exist, with the parent of main.

    Raises:
        ValueError: if there is neither, or the clone is too shallow.
    """
    for other in ("origin/main", "main~1"):
        with contextlib.suppress(ValueError):
            return _git(top, "merge-base", "HEAD", other)
        if _is_shallow(top):
            raise ValueError(f"the start of the branch is not available: {_SHALLOW}.")
    raise ValueError("no origin/main and no parent of main to compare with: name one by --base=.")


def working_tree(top: Path) -> Checkout:
    """Returns the working tree, with uncommitted changes."""
    commit = _git(top, "rev-parse", "HEAD")
    is_dirty = _git(top, "status", "--porcelain", "--untracked-files=no")
    return Checkout(top, f"{commit[:12]} with changes" if is_dirty else commit[:12], commit)


@contextlib.contextmanager
def worktree(top: Path, revision: str, folder: Path) -> Iterator[Checkout]:
    """Checks out a commit into the new folder `folder`, which is removed afterwards.

    Raises:
        ValueError: if there is no such commit, or it cannot be checked out.
    """
    try:
        commit = _git(top, "rev-parse", "--verify", "--end-of-options", f"{revision}^{{commit}}")
    except ValueError as error:
        if _is_shallow(top):
            raise ValueError(f"{revision} is not available: {_SHALLOW}.") from None
        raise ValueError(f"{revision}: {error}") from None
    try:
        _git(top, "worktree", "add", "--quiet", "--detach", str(folder), commit)
        yield Checkout(folder, commit[:12], commit)
    finally:
        with contextlib.suppress(ValueError):  # it does not exist if the checkout failed
            # Twice: git locks one until its files are there, and an interrupt leaves it locked.
            _git(top, "worktree", "remove", "--force", "--force", str(folder))


def _is_shallow(top: Path) -> bool:
    return _git(top, "rev-parse", "--is-shallow-repository") == "true"


def _git(folder: Path, *arguments: str) -> str:
    """Runs git in English, without hooks and without repositories from environment variables."""
    environ = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    environ["LC_ALL"] = "C"
    command = ["git", "-C", str(folder), "-c", f"core.hooksPath={os.devnull}", *arguments]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=_TIMEOUT_S, check=False, env=environ
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ValueError(f"git {arguments[0]}: {error}") from None
    if done.returncode:
        raise ValueError(f"git {arguments[0]}: {_reason(done.stderr)}")
    return done.stdout.strip()


def _reason(told: str) -> str:
    """Returns git's error: the first line except for warnings, and the suggested command."""
    lines = [line.strip() for line in told.splitlines() if line.strip()] or ["failed"]
    reason = next((line for line in lines if line.startswith(("fatal:", "error:"))), lines[0])
    advice = [line for line in lines if line.startswith("git config ")]
    return "; ".join([reason.rstrip("."), *advice])
