"""Commits laid out in folders of their own, by git worktree."""

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
    """A folder with the files of a commit, or with those that are being worked on."""

    folder: Path
    label: str
    commit: str  # that it is, or that it was changed from

    def digest(self, names: Sequence[str]) -> str:
        """Returns a digest of the files and folders of these names, as they stand."""
        found = hashlib.sha256()
        for path in sorted(path for name in names for path in self._files(name)):
            content = hashlib.sha256(path.read_bytes()).hexdigest()
            found.update(f"{path.relative_to(self.folder)}\0{content}\n".encode(errors="replace"))
        return found.hexdigest()

    def _files(self, name: str) -> Iterator[Path]:
        """Yields the files of a folder but what Python compiled of them, or the file itself."""
        path = self.folder / name
        if path.is_file():
            yield path
        for inside in path.rglob("*"):
            if inside.is_file() and "__pycache__" not in inside.parts:
                yield inside


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
        ValueError: if there is neither, or the clone is too shallow to tell.
    """
    for other in ("origin/main", "main~1"):
        with contextlib.suppress(ValueError):
            return _git(top, "merge-base", "HEAD", other)
        if _is_shallow(top):
            raise ValueError(f"where the branch began is not here, for {_SHALLOW}.")
    raise ValueError("no origin/main and no parent of main to compare with: name one by --base=.")


def working_tree(top: Path) -> Checkout:
    """Returns the files as they stand, with changes that are not committed."""
    commit = _git(top, "rev-parse", "HEAD")
    is_dirty = _git(top, "status", "--porcelain", "--untracked-files=no")
    return Checkout(top, f"{commit[:12]} with changes" if is_dirty else commit[:12], commit)


@contextlib.contextmanager
def worktree(top: Path, revision: str, folder: Path) -> Iterator[Checkout]:
    """Yields the commit's files in the new folder `folder`, which is removed afterwards.

    Raises:
        ValueError: if there is no such commit, or it cannot be laid out.
    """
    try:
        commit = _git(top, "rev-parse", "--verify", "--end-of-options", f"{revision}^{{commit}}")
    except ValueError as error:
        if _is_shallow(top):
            raise ValueError(f"{revision} is not here, for {_SHALLOW}.") from None
        raise ValueError(f"{revision}: {error}") from None
    try:
        _git(top, "worktree", "add", "--quiet", "--detach", str(folder), commit)
        yield Checkout(folder, commit[:12], commit)
    finally:
        with contextlib.suppress(ValueError):  # not there: it could not be laid out
            _git(top, "worktree", "remove", "--force", str(folder))


def _is_shallow(top: Path) -> bool:
    return _git(top, "rev-parse", "--is-shallow-repository") == "true"


def _git(folder: Path, *arguments: str) -> str:
    """Asks git, without hooks and whatever repository the environment names, in English."""
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
    """Returns git's reason, the first line but for warnings, and the command that it advises."""
    lines = [line.strip() for line in told.splitlines() if line.strip()] or ["failed"]
    reason = next((line for line in lines if line.startswith(("fatal:", "error:"))), lines[0])
    advice = [line for line in lines if line.startswith("git config ")]
    return "; ".join([reason.rstrip("."), *advice])
