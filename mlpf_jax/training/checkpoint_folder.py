"""A folder of checkpoints: which steps it has, and which process writes to it.

FOLDER/<step>/weights/      weights, rotations and the step, by Orbax
FOLDER/<step>/optimizer/    the optimiser's state, by Orbax
FOLDER/<step>/record/       all else that a run needs to go on, as JSON, by Orbax
FOLDER/<step>/sha256.json   the SHA-256 of these files; written last, so it seals a checkpoint
FOLDER/.lock                held by the run that writes here; tells when runs were alive
FOLDER/complete             the run has ended and written its report
"""

import contextlib
import math
import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

from mlpf_jax import atomic

ITEMS = ("weights", "optimizer", "record")
SEAL = "sha256.json"
_LOCK, _COMPLETE = ".lock", "complete"
_MARKS = {"_CHECKPOINT_METADATA", "commit_success.txt"}  # by Orbax
_PARTS = {*ITEMS, *_MARKS, SEAL}
_UNFINISHED = (".tmp-", ".orbax-checkpoint-tmp")  # in the names of what was not written to the end
_LARGEST_LOCK = 2**20  # bytes; a process adds 40
_LIFE = "{:017.3f}\n"  # the first line of a lock, of one width


def steps(folder: Path) -> list[int]:
    """Returns the steps with a checkpoint, newest first; their content may be damaged."""
    found = [int(path.name) for path in _numbered(folder) if (path / SEAL).is_file()]
    return sorted(found, reverse=True)


def clear(folder: Path) -> None:
    """Removes unfinished checkpoints, which have no seal: their writer has died or failed.

    Raises:
        ValueError: if something else has a number for a name. Orbax would take it for a checkpoint,
            and remove it some time.
    """
    numbered = _numbered(folder)
    for path in numbered:
        if not _is_checkpoint(path):
            raise ValueError(
                f"contains {path.name}, which is no checkpoint of this program: give another "
                "folder."
            )
    for path in numbered:
        if not (path / SEAL).is_file():
            shutil.rmtree(path)
    for path in folder.glob(f"*{_UNFINISHED[1]}*"):
        shutil.rmtree(path, ignore_errors=True)
    if not steps(folder):  # of a run whose checkpoints were removed
        (folder / _COMPLETE).unlink(missing_ok=True)


def is_complete(folder: Path) -> bool:
    """Whether the run that wrote the checkpoints has ended."""
    return (folder / _COMPLETE).exists()


def complete(folder: Path) -> None:
    """Notes that the run has ended."""
    atomic.write_file(folder / _COMPLETE, b"")


def _numbered(folder: Path) -> list[Path]:
    paths = folder.iterdir() if folder.is_dir() else ()
    return [path for path in paths if path.name.isdecimal()]


def _is_checkpoint(path: Path) -> bool:
    """Whether it is a checkpoint of ours, or what is left of one."""
    if path.is_symlink() or not path.is_dir() or path.name != str(int(path.name)):
        return False
    names = {one.name for one in path.iterdir()} - _PARTS
    return all(any(mark in name for mark in _UNFINISHED) for name in names)


class Lock:
    """The lock of a folder. It shows when the processes that had it were alive.

    Its first line is the last sign of life, which a copy of the file keeps. Each process adds a
    line with the sign of the one before and the time of its own start, between which nobody was
    alive.
    """

    def __init__(self, folder: Path):
        """Locks the folder for this process.

        Raises:
            ValueError: if another process has it.
        """
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        self._descriptor = os.open(folder / _LOCK, flags, 0o644)
        if not atomic.hold(self._descriptor):
            self.close()
            raise ValueError("another run writes its checkpoints there now.")
        content = os.pread(self._descriptor, _LARGEST_LOCK, 0)
        self._pauses = list(_pauses(content))
        self._last_s = _life(content)  # when an earlier process was last alive
        if self._last_s is not None:
            self._write(f"{self._last_s:.3f} {time.time():.3f}\n".encode(), len(content))
        self.show_life()

    def show_life(self) -> None:
        """Notes that this process is alive. It takes microseconds."""
        self._write(_LIFE.format(time.time()).encode(), 0)

    def _write(self, line: bytes, place: int) -> None:
        with contextlib.suppress(OSError):  # the disk is full
            os.pwrite(self._descriptor, line, place)

    def alive_since(self, time_s: float) -> float:
        """Returns for how many seconds earlier processes were alive after a time since 1970."""
        last_s = self._last_s
        if last_s is None:
            return 0.0
        paused = sum(max(0.0, min(end, last_s) - max(start, time_s)) for start, end in self._pauses)
        return max(0.0, last_s - time_s - paused)

    def close(self) -> None:
        """Releases the folder."""
        os.close(self._descriptor)


def _life(content: bytes) -> float | None:
    """Returns the last sign of life; None if the file is new, or another program has made it."""
    try:
        found = float(content.partition(b"\n")[0])
    except ValueError:
        return None
    return found if math.isfinite(found) else None


def _pauses(content: bytes) -> Iterator[tuple[float, float]]:
    """Yields the times between which nobody was alive; leaves out what is no such line."""
    for line in content.splitlines():
        with contextlib.suppress(ValueError):
            start, end = map(float, line.split())
            if start < end:
                yield start, end
