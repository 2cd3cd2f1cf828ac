"""Compares computed results with a golden file, quantity by quantity."""

import dataclasses
import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from mlpf_jax.model import metrics
from mlpf_jax.verify import computed as computed_lib
from mlpf_jax.verify import golden, measures
from mlpf_jax.verify import tolerances as tolerances_lib

# The last bias of each embedding. Distances do not depend on it, so its gradient is analytically
# zero. In float32 it is rounding noise, which Adam turns into full steps.
_NOISE = "ffn_dist/dense_1/bias"


@dataclasses.dataclass(frozen=True)
class Check:
    """One compared quantity: `measure` must not exceed `tolerance`."""

    group: str
    key: str
    max_abs: float  # largest absolute difference
    measure: float  # the difference in the measure of its group
    tolerance: float

    @property
    def holds(self) -> bool:
        """Whether the quantity agrees; a NaN does not."""
        return self.measure <= self.tolerance


class Judge:
    """Compares the quantities of a case that the file contains."""

    def __init__(
        self,
        expected: Mapping[str, np.ndarray],
        computed: computed_lib.Computed,
        case: golden.GoldenCase,
        tolerances: tolerances_lib.Tolerances,
    ):
        self.checks: list[Check] = []
        self.skipped: list[str] = []
        self.handled: set[str] = set()
        self._expected = expected
        self._computed = computed
        self._tolerances = tolerances
        self._mask = case.arrays["X"][..., 0] != 0
        self._learning_rate = case.learning_rate
        # A full-size file has row sums instead of intermediate tensors, and no float64 version.
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
        self._compare(group, key, ours, tolerance, measures.rel)

    def _outputs(self) -> None:
        for name, value in self._computed.outputs.items():
            if self._is_full:
                self._compare(
                    "outputs", f"out/{name}", value, self._tolerances.most, measures.rel_of_most
                )
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
            margin = measures.hash_margin(values["dist"], self._computed.rotations[layer])
            allowed = margin <= self._tolerances.inner * np.max(np.abs(values["dist"]))
            far = float(np.mean(flipped & ~allowed))
            share = float(np.mean(flipped))
            most = 0.0 if self._tolerances is tolerances_lib.FLOAT64 else 1 - measures.MOST
            self._add("hashes", f"inter/{layer}/lsh_bin_idx", share, max(share, far * 1e3), most)
        expected = self._take(f"inter/{layer}/bins")
        if expected is not None:
            moved = float(
                np.mean(measures.chunk_of_element(bins) != measures.chunk_of_element(expected))
            )
            most = 0.0 if self._tolerances is tolerances_lib.FLOAT64 else 1 - measures.MOST
            self._add("bins", f"inter/{layer}/bins", moved, moved, most)

    def _inner(self, layer: str, values: Mapping[str, np.ndarray]) -> None:
        if not self._is_full:
            for name in ("dist", "enc"):
                key = f"inter/{layer}/{name}"
                self._tensor("encodings", key, values[name], self._tolerances.inner)
            key = f"inter/{layer}/dm"
            self._compare(
                "adjacency", key, values["dm"], self._tolerances.adjacency, measures.max_abs
            )
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
                # One different hash shifts thousands of places, so compare by element, not by
                # place.
                bins = self._expected.get(f"inter/{layer}/bins", values["bins"])
                ours, expected = (
                    measures.by_element(ours, values["bins"]),
                    measures.by_element(expected, bins),
                )
            self._judge(
                "encodings", key, ours, expected, self._tolerances.most, measures.rel_of_most
            )

    def _losses_and_metrics(self) -> None:
        tolerances, places = self._tolerances, float(self._mask.size)
        for key, value in _named_losses(self._computed.losses):
            group = "losses" if key.startswith("loss/") else "metrics"
            tolerance = tolerances.of_loss(key, self._mask.shape[-1])
            self._compare(group, key, value, tolerance, measures.rel)
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
            self._compare("metrics", key, value, exact, measures.max_abs)
        weighted = tolerances.accuracy_on_ties if self._has_ties() else tolerances.recall_weighted
        self._compare(
            "metrics", "metric/cls_acc_weighted", first.weighted, weighted, measures.max_abs
        )

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
            self._compare("gradients", keys[0], gradient, tolerances.gradients, measures.l2)
            norm = np.linalg.norm(gradient.astype(np.float64))
            self._compare("gradients", keys[1], norm, tolerances.gradients, measures.rel)

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
                if name.endswith(_NOISE):  # changes by at most one learning rate per step
                    self.handled.add(norm_key)
                    farthest = 2 * number * self._learning_rate
                    self._compare("biases without gradient", key, value, farthest, measures.max_abs)
                    continue
                self._compare("weights", key, value, self._tolerances.weights, measures.l2)
                delta = np.linalg.norm(value.astype(np.float64) - start[name])
                tolerance = self._tolerances.gradients
                self._compare("weight changes", norm_key, delta, tolerance, measures.rel)


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
