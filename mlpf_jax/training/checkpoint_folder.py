"""A folder of checkpoints: which steps it has, and which process writes to it."""

import fcntl
import os
from pathlib import Path

SEAL = "sha256.json"
_LOCK = ".lock"


def steps(folder: Path) -> list[int]:
    """Returns the steps with a checkpoint, newest first; their content may be damaged."""
    names = [path.name for path in folder.iterdir()] if folder.is_dir() else []
    return sorted((int(name) for name in names if name.isdecimal()), reverse=True)


def hold(folder: Path) -> tuple[float | None, int]:
    """Locks a folder for this process; returns when its last owner was alive, and the lock.

    Raises:
        ValueError: if another process has it.
    """
    path = folder / _LOCK
    last = path.stat().st_mtime if path.exists() else None
    lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o644)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(lock)
        raise ValueError("another run writes its checkpoints there now.") from None
    except OSError:  # a file system without locks
        pass
    os.utime(lock)
    return last, lock
