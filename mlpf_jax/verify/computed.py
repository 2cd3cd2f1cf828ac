"""The results of our network for a golden case, under the reference's names."""

import dataclasses
import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from mlpf_jax import config as config_lib
from mlpf_jax.events import batch as batch_lib
from mlpf_jax.model import message_passing, pfnet
from mlpf_jax.training import parallel, state, step
from mlpf_jax.verify import golden

_OUTPUTS = ("cls", "charge", "pt", "eta", "sin_phi", "cos_phi", "energy")


@dataclasses.dataclass(frozen=True)
class Computed:
    """The results of our network for a golden case, under the reference's names."""

    outputs: dict[str, np.ndarray]
    logits: np.ndarray
    inner: dict[str, dict[str, np.ndarray]]  # layer -> bins, lsh_bin_idx, dist, enc, dm
    decoder: dict[str, np.ndarray]  # dec_output, dec_output_energy
    losses: list[dict[str, float]]  # before each of the three updates
    counts: list[np.ndarray]  # [true, predicted] of the real elements, before each update
    gradients: dict[str, np.ndarray]
    weights: list[dict[str, np.ndarray]]  # before the first, and after the first and third update
    rotations: dict[str, np.ndarray]  # layer -> [dim, half of the bins used]


def compute(
    case: golden.GoldenCase, dtype: np.dtype, model: config_lib.ModelConfig | None = None
) -> Computed:
    """Runs the forward pass, the gradient and three optimiser steps of a case.

    `model` has the case's sizes, and may have another precision or pair kernel.
    """
    config = _run_config(case, model or case.model_config)
    weights = {name: array.astype(dtype) for name, array in case.weights().items()}
    params, rotations = golden.variables_from_weights(weights, config.model)
    x = case.arrays["X"].astype(dtype)
    batch = batch_lib.EventBatch(x, case.arrays["ygen"].astype(dtype), np.ones(len(x), dtype))
    programs = _programs(config)
    candidates, captured = programs.forward({"params": params, "rotations": rotations}, x)
    gradient = programs.gradient(params, rotations, batch)
    losses, counts, later = _train(programs, config, params, rotations, batch)
    inner, decoder = _named_intermediates(
        captured["intermediates"], config.model, case.arrays["X"][..., 0] != 0
    )
    half_bins = config.data.num_elements // config.model.bin_size // 2
    return Computed(
        outputs=_named_outputs(candidates),
        logits=np.asarray(candidates.class_logits),
        inner=inner,
        decoder=decoder,
        losses=losses,
        counts=counts,
        gradients=golden.weights_from_params(gradient, config.model),
        weights=[golden.weights_from_params(p, config.model) for p in (params, *later)],
        rotations={
            name: values[:, :half_bins]
            for layer, tree in rotations["encoder"].items()
            for name, values in golden.unstack(layer, tree["rotations"], config.model).items()
        },
    )


def _run_config(case: golden.GoldenCase, model: config_lib.ModelConfig) -> config_lib.RunConfig:
    return config_lib.RunConfig(
        model=model,
        data=config_lib.DataConfig(num_elements=case.meta["n_pad"]),
        train=config_lib.TrainConfig(
            batch_size=len(case.arrays["X"]), learning_rate=case.learning_rate
        ),
    )


@dataclasses.dataclass(frozen=True)
class _Programs:
    forward: Callable
    gradient: Callable
    update: Callable
    devices: parallel.Devices


@functools.lru_cache(maxsize=4)
def _programs(config: config_lib.RunConfig) -> _Programs:
    """Returns the compiled functions; cases of the same sizes share them."""
    model = pfnet.PFNet(config.model)
    devices = parallel.Devices(jax.local_devices()[:1], config.parallel)

    def mean_loss(params, rotations, batch):
        return step.batch_sums(model, params, rotations, batch)[0] / batch.weight.sum()

    return _Programs(
        forward=jax.jit(functools.partial(model.apply, mutable=["intermediates"])),
        gradient=jax.jit(jax.grad(mean_loss)),
        update=devices.spread_train_step(functools.partial(step.train_step, config)),
        devices=devices,
    )


def _train(programs, config, params, rotations, batch):
    """Runs three updates with the step that the benchmark times, on one device."""
    train_state = state.TrainState(
        step=jnp.zeros((), jnp.int32),
        params=params,
        opt_state=state.optimizer(config.train).init(jax.tree.map(jnp.asarray, params)),
        rotations=rotations,
    )
    train_state = programs.devices.replicate(train_state)
    on_device = programs.devices.split(jax.tree.map(lambda x: x[None], batch))
    losses, counts, weights = [], [], []
    for _ in range(3):
        train_state, sums = programs.update(train_state, on_device, jax.random.key(0))
        losses.append({name: float(v) for name, v in sums.mean_losses().items()})
        counts.append(np.asarray(sums.counts))
        weights.append(jax.tree.map(np.asarray, train_state.params))
    return losses, counts, (weights[0], weights[2])


def _named_outputs(candidates: pfnet.Candidates) -> dict[str, np.ndarray]:
    outputs = {"cls": np.asarray(jax.nn.softmax(candidates.class_logits, axis=-1))}
    for name in _OUTPUTS[1:]:
        outputs[name] = np.asarray(getattr(candidates, name))[..., None]
    return outputs


def _named_intermediates(captured, config, mask):
    names = {
        "hash": "lsh_bin_idx",
        "bins": "bins",
        "embedding": "dist",
        "encoding": "enc",
    }
    inner: dict[str, dict[str, np.ndarray]] = {}
    for key, (values,) in captured["encoder"].items():
        name = key.removesuffix("_inner")
        for ours, theirs in names.items():
            for chain, value in golden.unstack(name, values[ours], config).items():
                inner.setdefault(chain, {})[theirs] = value
    for values in inner.values():
        for name in ("dist", "enc"):
            values[name] = values[name].reshape(*mask.shape, -1)
        values["dm"] = _adjacency(values["dist"], values["bins"], mask, config)
    energy = [inner[f"cg_energy_{i}"]["enc"] for i in range(config.num_energy_layers)]
    doubled = np.concatenate([e for encoding in energy for e in (encoding, encoding)], axis=-1)
    return inner, {
        "dec_output": np.asarray(captured["decoded"][0]).reshape(*mask.shape, -1),
        "dec_output_energy": doubled,
    }


def _adjacency(embedding, bins, mask, config):
    """The adjacency, zero at padding. It is recomputed, because the layers do not return it."""
    in_bins = np.stack([e[b] for e, b in zip(embedding, bins, strict=True)])
    real = np.stack([m[b] for m, b in zip(mask, bins, strict=True)])
    adjacency = message_passing.pair_adjacency(
        jnp.where(real[..., None], in_bins, 0), config.distance_scale, config.precision
    )
    return np.where(real[..., None] & real[..., None, :], np.asarray(adjacency), 0)
