"""Checkpoints of the weights with Orbax: written atomically, and verified when read.

DIR/weights/         files written by Orbax DIR/manifest.json    the SHA-256 of each of its files
"""

import hashlib
import json
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from orbax import checkpoint as ocp

from mlpf_jax import atomic
from mlpf_jax.training import state

_WEIGHTS, _MANIFEST = "weights", "manifest.json"
_BYTES_BESIDES = 2**20  # Orbax's own, and the manifest


def save(folder: Path, current: state.TrainState) -> None:
    """Writes all weights, including the fixed ones, and the step into a new folder.

    Raises:
        ValueError: if the folder exists: an earlier checkpoint is never overwritten.
        OSError: if it cannot be written.
    """
    if folder.exists():
        raise ValueError(f"--checkpoint={folder}: exists already and is not overwritten.")
    weights = jax.tree.map(np.asarray, _weights(current))
    folder.parent.mkdir(parents=True, exist_ok=True)
    # Orbax would tell of a full disk, too: in several threads and five hundred lines.
    num_bytes = sum(leaf.nbytes for leaf in jax.tree.leaves(weights))
    atomic.try_writing(folder.parent, num_bytes + _BYTES_BESIDES)
    with atomic.new_folder(folder) as temporary:
        with ocp.StandardCheckpointer() as checkpointer:
            checkpointer.save((temporary / _WEIGHTS).resolve(), weights)
            checkpointer.wait_until_finished()
        content = json.dumps(_hashes(temporary / _WEIGHTS), indent=2).encode()
        atomic.write_synced(temporary / _MANIFEST, [content])


def load(folder: Path, like: state.TrainState) -> state.TrainState:
    """Returns `like` with the weights and the step of a checkpoint, as host arrays.

    Raises:
        ValueError: if the checkpoint is incomplete, damaged, or for another network.
    """
    weights = (folder / _WEIGHTS).resolve()
    try:
        expected = json.loads((folder / _MANIFEST).read_text())
    except (OSError, ValueError):
        raise ValueError(f"--checkpoint={folder}: no checkpoint is there.") from None
    if _hashes(weights) != expected:
        # Orbax would report this too, but from several threads and in a hundred lines.
        raise ValueError(
            f"--checkpoint={folder}: damaged, its SHA-256 differs from the manifest's."
        )
    with ocp.StandardCheckpointer() as checkpointer:
        found = checkpointer.metadata(weights).item_metadata
        _refuse_other_network(folder, found, _weights(like))
        wanted = jax.tree.map(
            lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype), _weights(like)
        )
        restored = checkpointer.restore(weights, wanted)
    return like._replace(
        step=jnp.asarray(restored["step"]),
        params=restored["params"],
        rotations=restored["rotations"],
    )


def _weights(current: state.TrainState) -> dict[str, Any]:
    return {"step": current.step, "params": current.params, "rotations": current.rotations}


def _hashes(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def _refuse_other_network(folder: Path, found: Any, weights: dict[str, Any]) -> None:
    def shapes(tree):
        leaves = jax.tree_util.tree_leaves_with_path(tree)
        return {jax.tree_util.keystr(path): tuple(leaf.shape) for path, leaf in leaves}

    theirs, ours = shapes(found), shapes(weights)
    for name, shape in ours.items():
        if theirs.get(name) != shape:
            raise ValueError(
                f"--checkpoint={folder}: of another network: {name} is "
                f"{theirs.get(name, 'missing')} there, {shape} here."
            )
