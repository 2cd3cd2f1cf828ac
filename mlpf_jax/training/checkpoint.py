"""The weights on disk, by Orbax: written whole or not at all, read only if they fit."""

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from orbax import checkpoint as ocp

from mlpf_jax.training import state

_METADATA = "_CHECKPOINT_METADATA"  # Orbax writes it last


def save(folder: Path, current: state.TrainState) -> None:
    """Writes the weights, fixed ones included, and the step into a new folder.

    Raises:
        ValueError: if the folder exists: an earlier checkpoint is never overwritten.
    """
    if folder.exists():
        raise ValueError(f"--checkpoint={folder}: exists already and is not overwritten.")
    folder.parent.mkdir(parents=True, exist_ok=True)
    with ocp.StandardCheckpointer() as checkpointer:
        checkpointer.save(folder.resolve(), jax.tree.map(np.asarray, _weights(current)))
        checkpointer.wait_until_finished()


def load(folder: Path, like: state.TrainState) -> state.TrainState:
    """Returns `like` with the weights and the step of a checkpoint, as arrays on the host.

    Raises:
        ValueError: if it is no whole checkpoint, or one of another network.
    """
    if not (folder / _METADATA).is_file():
        raise ValueError(f"--checkpoint={folder}: no whole checkpoint is there.")
    with ocp.StandardCheckpointer() as checkpointer:
        try:
            found = checkpointer.metadata(folder.resolve()).item_metadata
            _refuse_other_network(folder, found, _weights(like))
            wanted = jax.tree.map(
                lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype), _weights(like)
            )
            weights = checkpointer.restore(folder.resolve(), wanted)
        except (OSError, KeyError, TypeError, AttributeError) as error:
            reason = str(error).splitlines()[0][:160]
            raise ValueError(f"--checkpoint={folder}: damaged ({reason}).") from None
    return like._replace(
        step=jnp.asarray(weights["step"]), params=weights["params"], rotations=weights["rotations"]
    )


def _weights(current: state.TrainState) -> dict[str, Any]:
    return {"step": current.step, "params": current.params, "rotations": current.rotations}


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
