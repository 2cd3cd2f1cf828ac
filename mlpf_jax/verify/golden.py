"""Golden data: the results of the original TensorFlow graph for given weights and inputs.

A file contains the weights, a batch and its targets, outputs and intermediate values, losses,
gradients, and three optimiser steps, under the reference's names (`meta_json` has the sizes). This
module reads such files and maps their names to ours; `judging` compares.
"""

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jaxtyping import PyTree

from mlpf_jax import config as config_lib
from mlpf_jax.simulation import npz

SMALL_CASE = Path(__file__).parent / "golden" / "small_A.npz"
_CHAINS = ("cg_", "cg_energy_")  # the reference's prefixes, in the order of a stacked layer
_FLAX_NAMES = {"gamma": "scale", "beta": "bias"}  # names in a layer norm, by the reference's name
_REQUIRED_META = (
    "bin_size",
    "n_pad",
    "distance_dim",
    "ffn_dist_hidden_dim",
    "output_dim",
    "max_num_bins",
    "n_common",
    "n_energy",
    "dec_hidden",
    "dist_mult",
)


@dataclasses.dataclass(frozen=True)
class GoldenCase:
    """One golden file, and its float64 version if there is one."""

    path: Path
    meta: Mapping[str, Any]
    arrays: Mapping[str, np.ndarray]
    float64_arrays: Mapping[str, np.ndarray] | None

    @property
    def model_config(self) -> config_lib.ModelConfig:
        """The sizes of the network that the file was made with."""
        meta = self.meta
        return config_lib.ModelConfig(
            num_id_layers=meta["n_common"],
            num_energy_layers=meta["n_energy"],
            bin_size=meta["bin_size"],
            embedding_dim=meta["distance_dim"],
            embedding_hidden_dim=meta["ffn_dist_hidden_dim"],
            hidden_dim=meta["output_dim"],
            decoder_dim=meta["dec_hidden"],
            max_num_bins=meta["max_num_bins"],
            distance_scale=meta["dist_mult"],
        )

    @property
    def learning_rate(self) -> float:
        """The learning rate of the three optimiser steps."""
        return float(self.meta.get("lr", 1e-4))

    def weights(self) -> dict[str, np.ndarray]:
        """The weights under the reference's names, without the prefix."""
        return group(self.arrays, "weights/")


def group(arrays: Mapping[str, np.ndarray], prefix: str) -> dict[str, np.ndarray]:
    """Returns the entries with keys that start with `prefix`, under keys without it."""
    return {key.removeprefix(prefix): a for key, a in arrays.items() if key.startswith(prefix)}


def load(path: Path) -> GoldenCase:
    """Reads a golden file, and `*_f64.npz` in the same folder if it exists.

    Raises:
        ValueError: if it cannot be read, or is not a golden file.
    """
    arrays = _read(path)
    try:
        meta = json.loads(str(arrays.pop("meta_json")))
    except (KeyError, ValueError, RecursionError):
        raise ValueError(f"{path}: not a golden file: it has no meta_json.") from None
    found = meta if isinstance(meta, dict) else {}
    missing = [key for key in _REQUIRED_META if not isinstance(found.get(key), int | float)]
    missing += [key for key in ("X", "ygen") if key not in arrays]
    if missing or not group(arrays, "weights/"):
        raise ValueError(f"{path}: not a golden file: {', '.join(missing) or 'weights'} missing.")
    twin = path.with_name(f"{path.stem}_f64.npz")
    return GoldenCase(path, meta, arrays, _read(twin) if twin.exists() else None)


def _read(path: Path) -> dict[str, np.ndarray]:
    if path.exists() and not path.is_file():  # a pipe would keep its reader waiting
        raise ValueError(f"{path}: not a file.")
    try:
        with path.open("rb") as file:
            return npz.read(file)
    except FileNotFoundError:
        raise ValueError(f"{path}: no such file.") from None
    except OSError as error:
        raise ValueError(f"{path}: {error.strerror}.") from None
    except ValueError as error:
        raise ValueError(f"{path}: not a golden file: {error}.") from None


def variables_from_weights(
    weights: Mapping[str, np.ndarray], config: config_lib.ModelConfig
) -> tuple[PyTree, PyTree]:
    """Returns (params, rotations) for the network.

    Raises:
        ValueError: if a weight is missing.
    """

    def fetch(name):
        if name not in weights:
            raise ValueError(f"not a golden file: weights/{name} is missing.")
        return np.asarray(weights[name])

    params: dict[str, Any] = {"encoder": {}, "decoder": {}}
    rotations: dict[str, Any] = {"encoder": {}}
    for i in range(max(config.num_id_layers, config.num_energy_layers)):
        chains = [prefix for prefix, n in zip(_CHAINS, _num_layers(config), strict=True) if i < n]
        layer = {
            "ffn_dist": {
                f"dense_{j}": {
                    part: np.stack([fetch(f"{c}{i}/ffn_dist/dense_{j}/{part}") for c in chains])
                    for part in ("kernel", "bias")
                }
                for j in range(2)
            },
            "msg_0": {
                name: np.stack([fetch(f"{c}{i}/msg_0/{name}") for c in chains])
                for name in ("W_t", "b_t", "W_h", "theta")
            },
        }
        params["encoder"][f"layer_{i}"] = layer
        stacked = np.stack([fetch(f"{c}{i}/lsh/codebook") for c in chains])
        rotations["encoder"][f"layer_{i}"] = {"rotations": stacked}
    params["decoder"]["layernorm"] = {
        ours: fetch(f"output_dec/layernorm/{theirs}") for theirs, ours in _FLAX_NAMES.items()
    }
    for name in weights:
        if name.startswith("output_dec/ffn_"):
            _, head, dense, part = name.split("/")
            params["decoder"].setdefault(head, {}).setdefault(dense, {})[part] = fetch(name)
    return params, rotations


def reference_variables(weights: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """Returns the variables of `reference.ReferenceNet`, which uses the reference's names."""
    variables: dict[str, Any] = {"params": {}, "rotations": {}}
    for name, array in weights.items():
        *modules, last = name.removesuffix("/lsh/codebook").split("/")
        if name.endswith("/lsh/codebook"):
            variables["rotations"][last] = {"rotations": np.asarray(array)}
            continue
        module = variables["params"]
        for part in modules:
            module = module.setdefault(part, {})
        module[_FLAX_NAMES.get(last, last)] = np.asarray(array)
    return variables


def weights_from_params(params: PyTree, config: config_lib.ModelConfig) -> dict[str, np.ndarray]:
    """Returns a tree shaped like the params (weights, gradients) under the reference's names."""
    named = {}
    for path, leaf in jax.tree_util.tree_leaves_with_path(params):
        module, *rest = [entry.key for entry in path]
        if module == "decoder":
            renamed = {ours: theirs for theirs, ours in _FLAX_NAMES.items()}
            if rest[0] == "layernorm":
                rest[-1] = renamed[rest[-1]]
            named["/".join(["output_dec", *rest])] = np.asarray(leaf)
        else:
            for name, values in unstack(rest[0], leaf, config).items():
                named["/".join([name, *rest[1:]])] = values
    return named


def unstack(layer: str, values: Any, config: config_lib.ModelConfig) -> dict[str, np.ndarray]:
    """Splits a stacked `layer_<i>` into the reference's two chains, by name."""
    i = int(layer.removeprefix("layer_"))
    chains = [prefix for prefix, n in zip(_CHAINS, _num_layers(config), strict=True) if i < n]
    return {f"{c}{i}": np.asarray(v) for c, v in zip(chains, values, strict=True)}


def _num_layers(config: config_lib.ModelConfig) -> tuple[int, int]:
    return config.num_id_layers, config.num_energy_layers
