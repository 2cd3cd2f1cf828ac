"""Checkpoints with Orbax: one folder for each step, verified by SHA-256 when it is read.

`checkpoint_folder` has their layout.
"""

import contextlib
import errno
import functools
import hashlib
import json
import logging as logging_lib
import math
import os
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from absl import logging
from orbax import checkpoint as ocp

from mlpf_jax import atomic, errors
from mlpf_jax.training import checkpoint_folder, state

FORMAT = 2  # of the record and the folder; increase it when older programs cannot read them
_WEIGHTS, _OPTIMIZER, _RECORD = checkpoint_folder.ITEMS
_KEPT = 2  # checkpoints; one of them is whole while the next is written
_BYTES_BESIDES = 2**20  # Orbax's own, and the seal
_REASONS = [os.strerror(code) for code in (errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS)]
_LARGEST_JSON = 256 * 2**20  # bytes; a thousand steps take one MB
# What Orbax and TensorStore raise for files that are not theirs, besides ValueError.
_UNREADABLE = (OSError, LookupError, TypeError, AttributeError, RuntimeError)

Record = Mapping[str, Any]  # JSON


class Restored(NamedTuple):
    """A checkpoint, read and verified."""

    step: int
    state: state.TrainState  # host arrays
    record: Record


class Store:
    """A folder of checkpoints that this process alone writes to."""

    def __init__(self, folder: Path):
        """Opens or creates the folder.

        Raises:
            ValueError: if another process writes to it, or it has other content.
            OSError: if it cannot be written to.
        """
        self.folder = folder
        self._sound: float = math.inf  # the newest step that was read or written here
        folder.mkdir(parents=True, exist_ok=True)
        with contextlib.ExitStack() as stack:
            self.lock = checkpoint_folder.Lock(folder)
            stack.callback(self.lock.close)
            checkpoint_folder.clear(folder)
            # Asynchronous writing would fall into the next timed window. And if a save fails,
            # Orbax's (0.12.8) threads wait ten minutes for each other, and the process cannot end
            # before.
            self._manager = ocp.CheckpointManager(
                folder.resolve(),
                options=ocp.CheckpointManagerOptions(
                    max_to_keep=_KEPT,
                    create=False,
                    enable_async_checkpointing=False,
                    multiprocessing_options=_alone(),
                ),
                item_names=(_WEIGHTS, _OPTIMIZER, _RECORD),
            )
            stack.pop_all()

    @property
    def steps(self) -> list[int]:
        """The steps with a checkpoint, newest first."""
        return checkpoint_folder.steps(self.folder)

    def sealed_at_s(self, step: int) -> float:
        """When the checkpoint of this step was complete, in seconds since 1970."""
        return (self.folder / str(step) / checkpoint_folder.SEAL).stat().st_mtime

    def save(self, step: int, current: state.TrainState, record: Record) -> None:
        """Writes a checkpoint, and removes all but the newest ones.

        Raises:
            ValueError: if something else is there that Orbax would take for a checkpoint.
            OSError: if it cannot be written; earlier checkpoints stay.
        """
        host = jax.tree.map(np.asarray, current)
        self._make_room(step)
        # Orbax would tell of a full disk, too: in several threads and five hundred lines.
        num_bytes = sum(leaf.nbytes for leaf in jax.tree.leaves(host))
        atomic.try_writing(self.folder, num_bytes + _BYTES_BESIDES)
        path = self.folder / str(step)
        items = ocp.args.Composite(
            weights=ocp.args.StandardSave(_weights(host)),
            optimizer=ocp.args.StandardSave(host.opt_state),
            record=ocp.args.JsonSave({"format": FORMAT, **record}),
        )
        _hush_tasks()
        try:
            with _quiet():
                self._manager.save(step, args=items, force=True)
                self._manager.wait_until_finished()
            _bound_record(path)
            content = json.dumps(_hashes(path), indent=2).encode()
            atomic.sync_tree(path)  # Orbax syncs only some: a seal must not outlive the rest
            atomic.write_file(path / checkpoint_folder.SEAL, content)
            atomic.sync_folder(self.folder)
            self._sound = step
        except Exception as error:
            with contextlib.suppress(OSError, ValueError):  # the report may need the space
                checkpoint_folder.clear(self.folder)
            if isinstance(error, OSError):
                raise
            raise OSError(f"{self.folder}: {_reason(error)}") from None

    def _make_room(self, step: int) -> None:
        """Removes what failed saves have left, and checkpoints that are newer than the sound one.

        Those are damaged, because the run goes on from an earlier one, and Orbax would keep them
        instead of that.
        """
        checkpoint_folder.clear(self.folder)
        for one in self.steps:
            if one >= step or one > self._sound:
                shutil.rmtree(self.folder / str(one))
        # Orbax (0.12.8) takes a failed save for a checkpoint until it looks at the folder.
        self._manager.reload()

    def newest(self, like: state.TrainState) -> tuple[Restored | None, tuple[str, ...]]:
        """Returns the newest sound checkpoint, and what is wrong with newer ones.

        It has the shapes and dtypes of `like`.
        """
        problems = []
        for step in self.steps:
            path = self.folder / str(step)
            try:
                restored = _read(path, step, like)
            except ValueError as error:
                problems.append(f"{path}: {errors.one_line(error)}")
            else:
                self._sound = step
                return restored, tuple(problems)
        return None, tuple(problems)

    def close(self) -> None:
        """Releases the folder."""
        self._manager.close()
        self.lock.close()


def export(folder: Path, current: state.TrainState) -> None:
    """Writes one checkpoint into a new folder.

    Raises:
        ValueError: if the folder exists: an earlier checkpoint is never overwritten.
        OSError: if it cannot be written.
    """
    if folder.exists():
        raise ValueError(f"--checkpoint={folder}: exists already and is not overwritten.")
    folder.parent.mkdir(parents=True, exist_ok=True)
    with atomic.new_folder(folder) as temporary:
        store = Store(temporary)
        try:
            store.save(int(current.step), current, {})
        finally:
            store.close()


def load_weights(folder: Path, like: state.TrainState) -> state.TrainState:
    """Returns the weights and the step of the newest checkpoint, as host arrays.

    They have the shapes and dtypes of `like`. The optimiser's state is zero, as at the start.

    Raises:
        ValueError: if it is incomplete, damaged, or for another network.
    """
    found = checkpoint_folder.steps(folder)
    if not found:
        raise ValueError(f"--checkpoint={folder}: no checkpoint is there.")
    path = folder / str(found[0])
    try:
        verify(path)
        weights = _restore(path / _WEIGHTS, _weights(like))
        return state.TrainState(**weights, opt_state=state.zeros(like.opt_state))
    except ValueError as error:
        raise ValueError(f"--checkpoint={folder}: step {found[0]}: {error}") from None


def verify(path: Path) -> None:
    """Compares all files of one checkpoint with its seal.

    Raises:
        ValueError: if they differ, or the checkpoint was not finished.
    """
    try:
        expected = json.loads(_bounded(path / checkpoint_folder.SEAL))
    except FileNotFoundError:
        raise ValueError("was not finished.") from None
    except (OSError, ValueError, RecursionError):
        raise ValueError(f"damaged, its {checkpoint_folder.SEAL} cannot be read.") from None
    try:
        found = _hashes(path)
    except OSError as error:
        raise ValueError(errors.one_line(error)) from None
    if found != expected:
        # Orbax would report this too, but from several threads and in a hundred lines.
        raise ValueError("damaged, its SHA-256 differs from its seal's.")


def read_record(path: Path) -> Record:
    """Returns the record of one checkpoint.

    Raises:
        ValueError: if it cannot be used.
    """
    with _reading("its record"):
        _bound_record(path)
        reader = ocp.Checkpointer(ocp.JsonCheckpointHandler(), multiprocessing_options=_alone())
        record = reader.restore((path / _RECORD).resolve())
    version = record.get("format") if isinstance(record, dict) else None
    if version != FORMAT:
        raise ValueError(f"has format {version}, and this program reads {FORMAT}.")
    return record


def _bound_record(path: Path) -> None:
    if (path / _RECORD / "metadata").stat().st_size > _LARGEST_JSON:
        raise ValueError(f"its record is too large, more than {_LARGEST_JSON} bytes.")


def read_weights(path: Path) -> dict[str, np.ndarray]:
    """Returns all weights of one checkpoint, by name, whatever the network.

    Raises:
        ValueError: if they cannot be read.
    """
    folder = (path / _WEIGHTS).resolve()
    with _reading("its weights"), _checkpointer() as checkpointer:
        _refuse_large_chunks(checkpointer.metadata(folder).item_metadata)
        found = checkpointer.restore(folder)
    leaves = jax.tree_util.tree_leaves_with_path(found)
    return {jax.tree_util.keystr(name, simple=True): np.asarray(leaf) for name, leaf in leaves}


def _read(path: Path, step: int, like: state.TrainState) -> Restored:
    verify(path)
    record = read_record(path)
    weights = _restore(path / _WEIGHTS, _weights(like))
    optimizer = _restore(path / _OPTIMIZER, like.opt_state)
    if int(weights["step"]) != step:
        raise ValueError(f"contains step {int(weights['step'])}.")
    return Restored(step, state.TrainState(**weights, opt_state=optimizer), record)


def _restore(path: Path, like: Any) -> Any:
    wanted = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype), like)
    with _reading(f"its folder {path.name}"), _checkpointer() as checkpointer:
        found = checkpointer.metadata(path.resolve()).item_metadata
        _refuse_other_network(found, wanted)
        _refuse_large_chunks(found)
        return checkpointer.restore(path.resolve(), wanted)


def _checkpointer() -> ocp.StandardCheckpointer:
    return ocp.StandardCheckpointer(multiprocessing_options=_alone())


def _alone() -> ocp.options.MultiprocessingOptions:
    """Keeps Orbax from waiting for the other processes of a run, which do not call it."""
    if jax.process_count() == 1:
        return ocp.options.MultiprocessingOptions()
    here = jax.process_index()
    return ocp.options.MultiprocessingOptions(primary_host=here, active_processes={here})


def _weights(current: state.TrainState) -> dict[str, Any]:
    return {"step": current.step, "params": current.params, "rotations": current.rotations}


def _refuse_other_network(found: Any, wanted: Any) -> None:
    def shapes(tree):
        leaves = jax.tree_util.tree_leaves_with_path(tree)
        return {jax.tree_util.keystr(path, simple=True): tuple(leaf.shape) for path, leaf in leaves}

    theirs = shapes(found)
    for name, shape in shapes(wanted).items():
        if theirs.get(name) != shape:
            raise ValueError(
                f"of another network: {name} is {theirs.get(name, 'missing')} there, {shape} here."
            )


def _refuse_large_chunks(found: Any) -> None:
    """A chunk is unpacked as a whole, however little of it belongs to the array."""
    for path, leaf in jax.tree_util.tree_leaves_with_path(found):
        chunk = leaf.storage.chunk_shape if leaf.storage else ()
        if math.prod(chunk or ()) > max(1, math.prod(leaf.shape)):
            name = jax.tree_util.keystr(path, simple=True)
            raise ValueError(f"{name} has chunks of {chunk}, and a shape of only {leaf.shape}.")


def _hashes(folder: Path) -> dict[str, str]:
    paths = sorted(folder.rglob("*"))
    for path in (folder, *paths):
        if path.is_symlink():
            raise ValueError(f"has a symbolic link, {path.name}.")
        if path.exists() and not (path.is_file() or path.is_dir()):
            raise ValueError(f"has something that is no file, {path.name}.")
    return {
        path.relative_to(folder).as_posix(): _sha256(path)
        for path in paths
        if path.is_file() and path.name != checkpoint_folder.SEAL
    }


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _bounded(path: Path) -> bytes:
    with path.open("rb") as file:
        content = file.read(_LARGEST_JSON + 1)
    if len(content) > _LARGEST_JSON:
        raise ValueError("too large")
    return content


@contextlib.contextmanager
def _reading(what: str) -> Iterator[None]:
    """Refuses what Orbax cannot read, quietly."""
    _hush_tasks()
    with _quiet():
        try:
            yield
        except _UNREADABLE as error:
            raise ValueError(f"{what} cannot be read: {errors.one_line(error)}") from None


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Silences Orbax's own log within the block: an error is raised, and told in one line.

    After an error for good, because Orbax's threads go on to tell of it when it has been raised.
    """
    before = logging.get_verbosity()
    logging.set_verbosity(logging.FATAL)
    yield
    logging.set_verbosity(before)


def _hush_tasks() -> None:
    """Silences what Orbax's tasks print if they fail, because the failure is raised.

    For good, because they print it when they are collected or their loop is closed.
    """
    logging_lib.getLogger("asyncio").setLevel(logging_lib.CRITICAL)
    hook = sys.unraisablehook
    if getattr(hook, "func", None) is not _tell_unless_late:
        sys.unraisablehook = functools.partial(_tell_unless_late, hook)


def _tell_unless_late(
    tell: Callable[["sys.UnraisableHookArgs"], object], unraisable: "sys.UnraisableHookArgs"
) -> None:
    if str(unraisable.exc_value) != "Event loop is closed":
        tell(unraisable)


def _reason(error: Exception) -> str:
    """Returns the reason of the system, which TensorStore puts into a kilobyte of its own."""
    text = errors.one_line(error)
    return next((f"{reason}." for reason in _REASONS if reason in text), text)
