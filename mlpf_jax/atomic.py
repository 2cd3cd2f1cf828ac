"""Files and folders that appear whole or not at all, whoever is killed or writes beside us.

Everything is written under a temporary name in the same folder, synced and renamed. A writer holds
a lock on what it has not finished, so that what a dead one left behind can be told apart from what
a living one still writes. POSIX only.
"""

import contextlib
import datetime
import errno
import fcntl
import itertools
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
    with _naming(path), _new_file(path, content) as temporary:
        temporary.replace(path)


def write_new(path: Path, content: bytes) -> Path | None:
    """Writes `content` to `path`, and keeps what is there under another name, which it returns.

    That name tells when it was written: `a.json` becomes `a_2022-09-20T120000Z.json`. Two processes
    that write at the same time lose nothing where the file system has locks.
    """
    with _naming(path), _new_file(path, content) as temporary, locked(path.parent):
        kept = _rename_to_its_time(path)
        temporary.replace(path)
    return kept


def try_writing(folder: Path, num_bytes: int) -> None:
    """Writes and removes a file of so many bytes.

    Raises:
        OSError: if that cannot be done in `folder`, which it names.
    """
    with _naming(folder), _new_file(folder / "trial", bytes(num_bytes)):
        pass


@contextlib.contextmanager
def _naming(path: Path) -> Iterator[None]:
    """Makes an error of the system name the file that it is about, not a temporary one or none."""
    try:
        yield
    except OSError as error:
        raise OSError(error.errno, error.strerror or str(error), str(path)) from None


@contextlib.contextmanager
def _new_file(path: Path, content: bytes) -> Iterator[Path]:
    """Yields a file beside `path` that holds `content`, for the block to give it its name."""
    temporary, lock = _create(path, Path.touch)
    try:
        write_synced(temporary, [content])
        yield temporary
        sync_folder(path.parent)
    finally:
        temporary.unlink(missing_ok=True)
        os.close(lock)


def _rename_to_its_time(path: Path) -> Path | None:
    """Renames a file that is there to a name of its own; returns it, or None if there is none."""
    try:
        written = datetime.datetime.fromtimestamp(path.stat().st_mtime, datetime.UTC)
    except FileNotFoundError:
        return None
    stem = f"{path.stem}_{written:%Y-%m-%dT%H%M%SZ}"
    names = itertools.chain([stem], (f"{stem}_{number}" for number in itertools.count(2)))
    kept = next(
        other for name in names if not (other := path.with_name(name + path.suffix)).exists()
    )
    path.rename(kept)
    return kept


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
