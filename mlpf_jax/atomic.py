"""Files and folders that appear whole or not at all, whoever is killed or writes beside us.

Everything is written under a temporary name in the same folder, synced and renamed. A writer holds
a lock on what it has not finished, so that what a dead one left behind can be told apart from what
a living one still writes. POSIX only.
"""

import contextlib
import errno
import fcntl
import os
import secrets
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

_PREFIX = ".tmp-"
# What file systems say (CIFS, some by FUSE) that cannot be asked to sync; others mean lost content.
_NO_SYNC = {errno.EINVAL, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP}


def write_file(path: Path, content: bytes) -> None:
    """Writes `content` to `path`, replacing what is there: readers see the old or the new."""
    temporary, lock = _create(path, Path.touch)
    try:
        write_synced(temporary, [content])
        temporary.replace(path)
        sync_folder(path.parent)
    finally:
        temporary.unlink(missing_ok=True)
        os.close(lock)


@contextlib.contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """Yields a temporary folder that becomes `path` when the block ends without an exception.

    The caller syncs the files that it writes into it. If `path` exists by then, it is kept and
    ours discarded: two writers of the same folder make the same bytes.
    """
    temporary, lock = _create(path, Path.mkdir)
    try:
        yield temporary
        sync_folder(temporary)
        try:
            temporary.rename(path)
        except OSError:
            if not path.is_dir():
                raise
        sync_folder(path.parent)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
        os.close(lock)


def write_synced(path: Path, chunks: Iterator[bytes] | list[bytes]) -> None:
    """Writes `chunks` to `path` and waits until they are on the disk."""
    with path.open("wb") as file:
        for chunk in chunks:
            file.write(chunk)
        file.flush()
        try:
            os.fsync(file.fileno())
        except OSError as error:
            if error.errno not in _NO_SYNC:
                raise


def sync_folder(path: Path) -> None:
    """Waits until the names in the folder `path` are on the disk, where its file system can.

    If it refuses, whatever the reason, the files are whole and have their names: all that lacks is
    safety from a loss of power in this moment.
    """
    with contextlib.suppress(OSError):
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Lets one process at a time into the block, where the file system has locks."""
    with contextlib.ExitStack() as stack:
        with contextlib.suppress(OSError):  # no locks here: the block must be harmless without
            descriptor = os.open(folder, os.O_RDONLY)
            stack.callback(os.close, descriptor)
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield


def remove_leftovers(folder: Path) -> None:
    """Removes what writers that are no more left unfinished in `folder`."""
    for path in folder.glob(f"{_PREFIX}*"):
        try:
            lock = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
        except OSError:  # finished, or cleaned up by another, in this moment
            continue
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:  # its writer lives, or the file system has no locks: leave it
            continue
        else:
            _remove(path)
        finally:
            os.close(lock)


def _create(target: Path, make: Callable[[Path], None]) -> tuple[Path, int]:
    """Makes a temporary sibling of `target` and returns it with the descriptor of its lock."""
    while True:
        path = target.parent / f"{_PREFIX}{target.name}-{os.getpid()}-{secrets.token_hex(4)}"
        make(path)
        try:
            lock = os.open(path, os.O_RDONLY)
        except FileNotFoundError:  # somebody cleaned up before we could lock it
            continue
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:  # as above, and not done yet
            os.close(lock)
            continue
        except OSError:  # a file system without locks: nothing is ever cleaned up there
            return path, lock
        if path.exists():
            return path, lock
        os.close(lock)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
