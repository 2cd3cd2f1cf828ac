"""Runs the network on golden data and judges every quantity by its stated tolerance.

The float32 tolerances come from the original's own rounding: its float32 run against its float64
run on the same weights. `rel` is the largest absolute difference over the largest absolute value
of the tensor; `L2` is the norm of the difference over the norm.
"""

import dataclasses
import functools
import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from mlpf_jax import config as config_lib
from mlpf_jax.events import batch as batch_lib
from mlpf_jax.model import message_passing, metrics, pfnet
from mlpf_jax.training import parallel, state, step
from mlpf_jax.verify import golden

# The last bias of each embedding: distances do not depend on it, so its gradient is analytically
# zero, in float32 pure rounding noise, which Adam turns into whole steps.
_NOISE = "ffn_dist/dense_1/bias"
_MOST = 0.999  # the share of elements that must hold where single ones may differ
_OUTPUTS = ("cls", "charge", "pt", "eta", "sin_phi", "cos_phi", "energy")
_ESSENTIAL = ("outputs", "losses", "gradients")


@dataclasses.dataclass(frozen=True)
class Check:
    """One compared quantity: `measure` must not exceed `tolerance`."""

    group: str
    key: str
    max_abs: float  # largest absolute difference
    measure: float  # the difference in the group's own measure
    tolerance: float

    @property
    def holds(self) -> bool:
        """Whether the quantity agrees; a NaN does not."""
        return self.measure <= self.tolerance


@dataclasses.dataclass(frozen=True)
class Tolerances:
    """What each measure may reach, for one working precision."""

    outputs: float
    energies: float  # pt and energy
    inner: float  # embeddings, encodings, decoder inputs
    adjacency: float  # absolute: close pairs cancel
    losses: float
    recall_weighted: float
    accuracy: float
    accuracy_on_ties: float
    gradients: float
    gradient_sums: float  # relative to the gradient's norm
    weights: float
    most: float  # relative, for all but 0.1 % of the elements of a full-size case


FLOAT32 = Tolerances(
    outputs=3e-4,
    energies=1e-3,
    inner=2e-3,
    adjacency=3e-2,
    losses=1e-5,
    recall_weighted=1e-6,
    accuracy=1e-12,
    accuracy_on_ties=1e-3,
    gradients=3e-3,
    gradient_sums=1e-2,
    weights=2e-4,
    most=3e-3,
)
FLOAT64 = Tolerances(
    outputs=1e-10,
    energies=1e-10,
    inner=1e-10,
    adjacency=1e-10,
    losses=5e-8,  # keras keeps Huber's delta in float32
    recall_weighted=1e-9,
    accuracy=1e-9,
    accuracy_on_ties=1e-9,
    gradients=1e-7,
    gradient_sums=1e-6,
    weights=1e-6,
    most=1e-10,
)


@dataclasses.dataclass(frozen=True)
class Computed:
    """What our network makes of a golden case, under the reference's names."""

    outputs: dict[str, np.ndarray]
    logits: np.ndarray
    inner: dict[str, dict[str, np.ndarray]]  # layer -> bins, lsh_bin_idx, dist, enc, dm
    decoder: dict[str, np.ndarray]  # dec_output, dec_output_energy
    losses: list[dict[str, float]]  # before each of the three updates
    counts: list[np.ndarray]  # [true, predicted] of the real elements, likewise
    gradients: dict[str, np.ndarray]
    weights: list[dict[str, np.ndarray]]  # before the first update, after it, after the third
    rotations: dict[str, np.ndarray]  # layer -> [dim, half of the bins used]


@dataclasses.dataclass(frozen=True)
class Verdict:
    """The outcome for one golden file."""

    checks: list[Check]
    skipped: list[str]  # what this file does not have
    unknown: list[str]  # what it has and we cannot compare

    @property
    def missing(self) -> list[str]:
        """Essential groups of which nothing was compared."""
        groups = {check.group for check in self.checks}
        return [group for group in _ESSENTIAL if group not in groups]

    @property
    def holds(self) -> bool:
        """Whether all agreed and nothing essential was left out."""
        return not self.missing and all(check.holds for check in self.checks)


def verify(case: golden.GoldenCase, *, float64: bool = False) -> Verdict:
    """Computes a case on the default device and compares it with the file.

    Raises:
        ValueError: if float64 is asked for and the case has no float64 twin, or a weight lacks.
    """
    expected = case.float64_arrays if float64 else case.arrays
    if expected is None:
        raise ValueError(f"{case.path}: no *_f64.npz stands beside it, which --x64 compares with.")
    computed = compute(case, np.dtype(np.float64 if float64 else np.float32))
    judge = _Judge(expected, computed, case, FLOAT64 if float64 else FLOAT32)
    judge.run()
    handled = judge.handled | {"X", "ygen", "meta_json"}
    unknown = sorted(k for k in expected if k not in handled and not k.startswith("weights/"))
    return Verdict(judge.checks, judge.skipped, unknown)


def compute(case: golden.GoldenCase, dtype: np.dtype) -> Computed:
    """Runs the forward pass, the gradient and three optimiser steps of a case."""
    config = _run_config(case)
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


def _run_config(case: golden.GoldenCase) -> config_lib.RunConfig:
    return config_lib.RunConfig(
        model=case.model_config,
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
    """Three updates through the step that the benchmark times, on one device."""
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
    """The adjacency, zero at padding: the layers never write it where one could look."""
    in_bins = np.stack([e[b] for e, b in zip(embedding, bins, strict=True)])
    real = np.stack([m[b] for m, b in zip(mask, bins, strict=True)])
    adjacency = message_passing.pair_adjacency(
        jnp.where(real[..., None], in_bins, 0), config.distance_scale, config.precision
    )
    return np.where(real[..., None] & real[..., None, :], np.asarray(adjacency), 0)


class _Judge:
    """Walks over the quantities of a case and compares those that the file has."""

    def __init__(
        self,
        expected: Mapping[str, np.ndarray],
        computed: Computed,
        case: golden.GoldenCase,
        tolerances: Tolerances,
    ):
        self.checks: list[Check] = []
        self.skipped: list[str] = []
        self.handled: set[str] = set()
        self._expected = expected
        self._computed = computed
        self._tolerances = tolerances
        self._mask = case.arrays["X"][..., 0] != 0
        self._learning_rate = case.learning_rate
        # A full-size file has row sums in place of the tensors between, and no float64 twin.
        self._is_full = not any(key.endswith("/dist") for key in expected)

    def run(self) -> None:
        """Compares everything."""
        self._outputs()
        for layer, values in self._computed.inner.items():
            self._hashes_and_bins(layer, values)
            self._inner(layer, values)
        for name, value in self._computed.decoder.items():
            self._tensor("encodings", f"inter/{name}", value, self._tolerances.inner)
        self._losses_and_metrics()
        self._gradients()
        self._weights()

    def _take(self, key: str) -> np.ndarray | None:
        if key not in self._expected:
            self.skipped.append(key)
            return None
        self.handled.add(key)
        return self._expected[key]

    def _add(self, group: str, key: str, max_abs: float, measure: float, tolerance: float) -> None:
        self.checks.append(Check(group, key, max_abs, measure, tolerance))

    def _compare(
        self,
        group: str,
        key: str,
        ours: Any,
        tolerance: float,
        measure: Callable[[np.ndarray, np.ndarray], float],
    ) -> None:
        expected = self._take(key)
        if expected is not None:
            self._judge(group, key, ours, expected, tolerance, measure)

    def _judge(
        self,
        group: str,
        key: str,
        ours: Any,
        expected: np.ndarray,
        tolerance: float,
        measure: Callable[[np.ndarray, np.ndarray], float],
    ) -> None:
        ours = np.asarray(ours, np.float64)
        if ours.shape != expected.shape:
            self._add(
                group,
                f"{key} (shape {ours.shape}, not {expected.shape})",
                math.nan,
                math.nan,
                math.nan,
            )
            return
        expected = expected.astype(np.float64)
        max_abs = float(np.max(np.abs(ours - expected), initial=0.0))
        self._add(group, key, max_abs, float(measure(ours, expected)), tolerance)

    def _tensor(self, group: str, key: str, ours: np.ndarray, tolerance: float) -> None:
        self._compare(group, key, ours, tolerance, _rel)

    def _outputs(self) -> None:
        for name, value in self._computed.outputs.items():
            if self._is_full:
                self._compare("outputs", f"out/{name}", value, self._tolerances.most, _rel_of_most)
                continue
            is_energy = name in ("pt", "energy")
            tolerance = self._tolerances.energies if is_energy else self._tolerances.outputs
            self._tensor("outputs", f"out/{name}", value, tolerance)

    def _hashes_and_bins(self, layer: str, values: Mapping[str, np.ndarray]) -> None:
        hashes, bins = values["lsh_bin_idx"], values["bins"]
        flat = bins.reshape(len(bins), -1)
        wrong = float(np.count_nonzero(flat != np.argsort(hashes, axis=-1, kind="stable")))
        self._add("bins", f"inter/{layer}/bins as sorted", wrong, wrong, 0.0)

        expected = self._take(f"inter/{layer}/lsh_bin_idx")
        if expected is not None:
            flipped = hashes != expected
            margin = _hash_margin(values["dist"], self._computed.rotations[layer])
            allowed = margin <= self._tolerances.inner * np.max(np.abs(values["dist"]))
            far = float(np.mean(flipped & ~allowed))
            share = float(np.mean(flipped))
            most = 0.0 if self._tolerances is FLOAT64 else 1 - _MOST
            self._add("hashes", f"inter/{layer}/lsh_bin_idx", share, max(share, far * 1e3), most)
        expected = self._take(f"inter/{layer}/bins")
        if expected is not None:
            moved = float(np.mean(_chunk_of_element(bins) != _chunk_of_element(expected)))
            most = 0.0 if self._tolerances is FLOAT64 else 1 - _MOST
            self._add("bins", f"inter/{layer}/bins", moved, moved, most)

    def _inner(self, layer: str, values: Mapping[str, np.ndarray]) -> None:
        if not self._is_full:
            for name in ("dist", "enc"):
                key = f"inter/{layer}/{name}"
                self._tensor("encodings", key, values[name], self._tolerances.inner)
            key = f"inter/{layer}/dm"
            self._compare("adjacency", key, values["dm"], self._tolerances.adjacency, _max_abs)
            return
        row_sums = {
            "dist_rowsum": values["dist"].sum(-1),
            "enc_rowsum": values["enc"].sum(-1),
            "adj_rowsum": values["dm"].sum(-1),
        }
        for name, ours in row_sums.items():
            key = f"inter/{layer}/{name}"
            expected = self._take(key)
            if expected is None:
                continue
            if name == "adj_rowsum" and expected.size == ours.size:
                # One flipped hash moves thousands of places: compare by element, not by place.
                bins = self._expected.get(f"inter/{layer}/bins", values["bins"])
                ours, expected = _by_element(ours, values["bins"]), _by_element(expected, bins)
            self._judge("encodings", key, ours, expected, self._tolerances.most, _rel_of_most)

    def _losses_and_metrics(self) -> None:
        tolerances, places = self._tolerances, float(self._mask.size)
        for key, value in _named_losses(self._computed.losses):
            group = "losses" if key.startswith("loss/") else "metrics"
            self._compare(group, key, value, tolerances.losses, _relative)
        exact = tolerances.accuracy_on_ties if self._has_ties() else tolerances.accuracy
        accuracies = [
            metrics.accuracy(counts[None], np.array([places])) for counts in self._computed.counts
        ]
        first = accuracies[0]
        named = {"metric/cls_acc_unweighted": first.padded, "metric/own_acc_valid_only": first.real}
        named |= {f"metric/cls_rec_cls{i}": recall for i, recall in enumerate(first.recall)}
        named |= {
            f"train/acc_unweighted_step{i}": a.padded for i, a in enumerate(accuracies, start=1)
        }
        for key, value in named.items():
            self._compare("metrics", key, value, exact, _max_abs)
        weighted = tolerances.accuracy_on_ties if self._has_ties() else tolerances.recall_weighted
        self._compare("metrics", "metric/cls_acc_weighted", first.weighted, weighted, _max_abs)

    def _has_ties(self) -> bool:
        logits = self._computed.logits[self._mask]
        best, second = np.sort(logits, axis=-1)[:, :-3:-1].T
        return bool(np.any(best - second <= self._tolerances.outputs * np.max(np.abs(logits))))

    def _gradients(self) -> None:
        tolerances = self._tolerances
        for name, gradient in self._computed.gradients.items():
            keys = [f"{kind}/{name}" for kind in ("grads", "grad_norm", "grad_sum")]
            if name.endswith(_NOISE):
                self.handled.update(keys)
                continue
            self._compare("gradients", keys[0], gradient, tolerances.gradients, _l2)
            norm = np.linalg.norm(gradient.astype(np.float64))
            self._compare("gradients", keys[1], norm, tolerances.gradients, _relative)

            def relative_to_norm(ours, expected, norm=norm):
                return abs(ours - expected) / norm if norm else abs(ours - expected)

            total = gradient.sum(dtype=np.float64)
            self._compare(
                "gradient sums", keys[2], total, tolerances.gradient_sums, relative_to_norm
            )

    def _weights(self) -> None:
        start, *later = self._computed.weights
        for number, weights in zip((1, 3), later, strict=True):
            for name, value in weights.items():
                key = f"weights_step{number}/{name}"
                norm_key = f"weight_delta_norm_step{number}/{name}"
                if name.endswith(_NOISE):  # a walk of at most one learning rate per step
                    self.handled.add(norm_key)
                    farthest = 2 * number * self._learning_rate
                    self._compare("biases without gradient", key, value, farthest, _max_abs)
                    continue
                self._compare("weights", key, value, self._tolerances.weights, _l2)
                delta = np.linalg.norm(value.astype(np.float64) - start[name])
                tolerance = self._tolerances.gradients
                self._compare("weight changes", norm_key, delta, tolerance, _relative)


def _named_losses(losses: list[dict[str, float]]) -> Iterator[tuple[str, float]]:
    for name, value in losses[0].items():
        yield f"loss/{name}", value
        yield ("metric/loss" if name == "total" else f"metric/{name}_loss"), value
    for i, values in enumerate(losses, start=1):
        for name, value in values.items():
            yield (
                (f"train/loss_step{i}" if name == "total" else f"train/{name}_loss_step{i}"),
                value,
            )


def _hash_margin(embedding: np.ndarray, rotations: np.ndarray) -> np.ndarray:
    """Returns by how much each element's best score exceeds its second best."""
    projection = embedding.astype(np.float64) @ rotations
    scores = np.sort(np.concatenate([projection, -projection], axis=-1), axis=-1)
    return scores[..., -1] - scores[..., -2]


def _by_element(values: np.ndarray, bins: np.ndarray) -> np.ndarray:
    """Puts one value per place in the bins into the order of the elements."""
    flat = bins.reshape(len(bins), -1)
    result = np.empty(flat.shape, values.dtype)
    np.put_along_axis(result, flat, values.reshape(flat.shape), axis=-1)
    return result


def _chunk_of_element(bins: np.ndarray) -> np.ndarray:
    """Returns, per event and element, the number of the bin that it is in."""
    num_events, num_bins, size = bins.shape
    chunks = np.broadcast_to(np.repeat(np.arange(num_bins), size), (num_events, num_bins * size))
    result = np.empty_like(chunks)
    np.put_along_axis(result, bins.reshape(num_events, -1), chunks, axis=-1)
    return result


def _max_abs(ours: np.ndarray, expected: np.ndarray) -> float:
    return float(np.max(np.abs(ours - expected), initial=0.0))


def _rel(ours: np.ndarray, expected: np.ndarray) -> float:
    return _ratio(np.max(np.abs(ours - expected)), np.max(np.abs(expected)))


def _rel_of_most(ours: np.ndarray, expected: np.ndarray) -> float:
    return _ratio(np.quantile(np.abs(ours - expected), _MOST), np.max(np.abs(expected)))


def _l2(ours: np.ndarray, expected: np.ndarray) -> float:
    return _ratio(np.linalg.norm(ours - expected), np.linalg.norm(expected))


def _relative(ours: np.ndarray, expected: np.ndarray) -> float:
    return _ratio(np.max(np.abs(ours - expected)), np.max(np.abs(expected)))


def _ratio(difference: Any, size: Any) -> float:
    return float(difference / size) if size else float(difference)
