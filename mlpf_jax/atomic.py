"""Atomic writing of files and folders, safe against kills and concurrent writers.

Everything is written under a temporary name in the same folder, synced and renamed. A writer holds
a lock on unfinished files, which distinguishes leftovers of dead writers from files of running
ones. POSIX only.
"""

import contextlib
import datetime
import errno
import fcntl
import itertools
import math
import os
import re
import secrets
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path

_PREFIX = ".tmp-"
_LEFTOVER = re.compile(r"\.tmp-.+-[0-9]+-[0-9a-f]+")  # as `_create` names them
# Errors of file systems without support for a call (CIFS, some FUSE); others mean lost content.
_NO_SYNC = {errno.EINVAL, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP}
_RETRY_S = 0.05
_PATIENCE_S = 10.0  # with other writers of a file, which take milliseconds


def write_file(path: Path, content: bytes) -> None:
    """Writes `content` to `path` atomically: readers see the old or the new content."""
    with naming(path), _new_file(path, content) as temporary:
        temporary.replace(path)


def write_new(path: Path, content: bytes) -> Path | None:
    """Writes `content` to `path`; renames an existing file and returns its new name.

    The new name contains the time of writing: `a.json` becomes `a_2022-09-20T120000Z.json`.
    Concurrent writers lose nothing if the file system has locks. One that keeps its lock, because
    it was stopped or has started this process (`flock FOLDER ...`), does not keep this one.
    """
    with (
        naming(path),
        _new_file(path, content) as temporary,
        locked(path.parent, patience_s=_PATIENCE_S),
    ):
        kept = rename_to_its_time(path)
        temporary.replace(path)
    return kept


def try_writing(folder: Path, num_bytes: int) -> None:
    """Makes and removes a file of `num_bytes` bytes, as a test. They are reserved, not written.

    Removes what killed processes have left in the folder, too.

    Raises:
        OSError: if that fails; the error names `folder`.
    """
    with naming(folder):
        remove_leftovers(folder)
        temporary, lock = _create(folder / "trial", Path.touch)
        try:
            _reserve(temporary, num_bytes)
        finally:
            temporary.unlink(missing_ok=True)
            os.close(lock)


def _reserve(path: Path, num_bytes: int) -> None:
    try:
        with path.open("wb") as file:
            os.posix_fallocate(file.fileno(), 0, num_bytes)
    except OSError as error:
        if error.errno not in _NO_SYNC:
            raise
        write_synced(path, [bytes(num_bytes)])  # a file system that cannot reserve


@contextlib.contextmanager
def naming(path: Path) -> Iterator[None]:
    """Makes system errors name the target file, instead of a temporary one or none."""
    try:
        yield
    except OSError as error:
        raise OSError(error.errno, error.strerror or str(error), str(path)) from None


@contextlib.contextmanager
def _new_file(path: Path, content: bytes) -> Iterator[Path]:
    """Yields a temporary file with `content` next to `path`, for the block to rename."""
    temporary, lock = _create(path, Path.touch)
    try:
        write_synced(temporary, [content])
        yield temporary
        sync_folder(path.parent)
    finally:
        temporary.unlink(missing_ok=True)
        os.close(lock)


def rename_to_its_time(path: Path) -> Path | None:
    """Renames an existing file to a name with its time; returns it, or None without a file.

    Of concurrent callers, `locked` lets one at a time.
    """
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

    The caller must sync the files that it writes into it. If `path` exists by then, it is kept and
    the new folder is discarded, because writers of the same folder make the same bytes.
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
    """Writes `chunks` to `path` and syncs the file."""
    with path.open("wb") as file:
        for chunk in chunks:
            file.write(chunk)
        file.flush()
        _sync(file.fileno())


def sync_tree(folder: Path) -> None:
    """Syncs all files in the folder and below, which others have written, and then the names.

    Raises:
        OSError: if content was lost.
    """
    for path in (*folder.rglob("*"), folder):
        if path.is_dir():
            sync_folder(path)
        else:
            with path.open("rb") as file:
                _sync(file.fileno())


def _sync(descriptor: int) -> None:
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in _NO_SYNC:
            raise


def sync_folder(path: Path) -> None:
    """Syncs the names in the folder `path`, if the file system supports it.

    If this fails for any reason, the files are still complete under their names, and only
    protection from a power failure at this moment is missing.
    """
    with contextlib.suppress(OSError):
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


@contextlib.contextmanager
def locked(folder: Path, *, patience_s: float = math.inf) -> Iterator[None]:
    """Runs the block in one process at a time, if the file system has locks.

    A process that has waited for `patience_s` runs it all the same.
    """
    with contextlib.ExitStack() as stack:
        with contextlib.suppress(OSError):  # without locks, the block must be harmless
            descriptor = os.open(folder, os.O_RDONLY)
            stack.callback(os.close, descriptor)
            end_s = time.monotonic() + patience_s
            while not hold(descriptor) and time.monotonic() < end_s:
                time.sleep(_RETRY_S)
        yield


def hold(descriptor: int) -> bool:
    """Locks an open file until it is closed; returns False if another process has locked it.

    On a file system without locks everybody gets it.
    """
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        pass
    return True


def remove_leftovers(folder: Path) -> None:
    """Removes unfinished files of dead writers in `folder`."""
    for path in folder.glob(f"{_PREFIX}*"):
        if not _LEFTOVER.fullmatch(path.name):
            continue
        try:
            lock = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
        except OSError:  # just finished, or cleaned up by another process
            continue
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:  # its writer is running, or the file system has no locks
            continue
        else:
            _remove(path)
        finally:
            os.close(lock)


def _create(target: Path, make: Callable[[Path], None]) -> tuple[Path, int]:
    """Creates a temporary sibling of `target` and returns it with the descriptor of its lock."""
    while True:
        path = target.parent / f"{_PREFIX}{target.name}-{os.getpid()}-{secrets.token_hex(4)}"
        make(path)
        try:
            lock = os.open(path, os.O_RDONLY)
        except FileNotFoundError:  # another process removed it before we could lock it
            continue
        if hold(lock) and path.exists():  # without locks nothing is cleaned up
            return path, lock
        os.close(lock)  # another process is removing it, or has


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
