"""PyTorch as a contender: eager, or with its steps through torch.compile."""

import platform
from typing import Any, NamedTuple

import numpy as np
import torch  # pyrefly: ignore[missing-import]
from torch.nn import functional as F  # pyrefly: ignore[missing-import]

from benchmarks.peers import constants, layout
from benchmarks.peers import contender as contender_lib
from benchmarks.peers import workload as workload_lib
from benchmarks.peers.pytorch import model as model_lib

# PyTorch's names of the precision of float32 products. In bf16, autocast rounds the operands.
_PRODUCTS = {"float32": "highest", "tf32": "high", "bf16": "highest"}


class Batch(NamedTuple):
    """The input of the model: [events, elements, 12] and [events, elements, 7]."""

    elements: torch.Tensor
    targets: torch.Tensor


class Sums(NamedTuple):
    """The results of a step."""

    losses: dict[str, torch.Tensor]
    counts: torch.Tensor  # [true, predicted], real elements


class PyTorch:
    """The network, its optimiser and the two steps."""

    def __init__(
        self, workload: workload_lib.Workload, *, compiled: bool, device: contender_lib.Device
    ):
        self._config, self._schedule = workload.model, workload.train
        self._device = torch.device("cuda" if device == "gpu" else "cpu")  # also on ROCm
        torch.set_float32_matmul_precision(_PRODUCTS[workload.model.precision])
        self._is_bf16 = workload.model.precision == "bf16"
        arrays = layout.merge(workload.weights, workload.model)
        # Bins one by one fit a CPU's caches; on a GPU each would cost launches. Autocast does not
        # reach into an operator.
        batched = device == "gpu" or self._is_bf16
        self._model = model_lib.PFNet(workload.model, arrays, fused=compiled, batched=batched)
        self._model.to(self._device)
        self._optimizer = torch.optim.Adam(
            self._model.parameters(), betas=constants.BETAS, fused=True
        )
        self._num_updates = 0

        def sums(batch: Batch) -> Sums:
            with torch.autocast(self._device.type, torch.bfloat16, enabled=self._is_bf16):
                candidates = self._model(batch.elements)
            return _losses_and_counts(_in_float32(candidates), batch)

        def program(function: Any) -> Any:
            return torch.compile(function, dynamic=False) if compiled else function

        self._train_sums, self._infer_sums = program(sums), program(sums)
        self._candidates = program(self._model)

    def put(self, elements: np.ndarray, targets: np.ndarray) -> Batch:
        return Batch(*(torch.from_numpy(x).to(self._device) for x in (elements, targets)))

    def train(self, batch: Batch) -> Sums:
        sums = self._differentiate(batch)
        self._set_schedule()
        self._optimizer.step()
        return Sums({name: loss.detach() for name, loss in sums.losses.items()}, sums.counts)

    def infer(self, batch: Batch) -> Sums:
        with torch.no_grad():
            return self._infer_sums(batch)

    def wait(self, sums: Sums) -> None:
        """Waits for a GPU. On the CPU, every operation ends before the next begins."""
        if self._device.type != "cpu":
            torch.cuda.synchronize()

    def fetch(self, sums: Sums) -> tuple[dict[str, float], np.ndarray]:
        return {name: float(loss) for name, loss in sums.losses.items()}, sums.counts.cpu().numpy()

    def peak_bytes(self) -> int | None:
        return None if self._device.type == "cpu" else torch.cuda.max_memory_allocated()

    def versions(self) -> dict[str, str]:
        return {
            "python": platform.python_version(),
            "torch": torch.__version__,
            "numpy": np.__version__,
        }

    def outputs(self, batch: Batch) -> dict[str, np.ndarray]:
        with torch.no_grad():
            candidates = self._candidates(batch.elements)
        named = {name: getattr(candidates, name)[..., None] for name in constants.REGRESSIONS}
        named |= {"logits": candidates.logits, "cls": torch.softmax(candidates.logits, dim=-1)}
        return {name: value.cpu().numpy() for name, value in named.items()}

    def gradients(self, batch: Batch) -> dict[str, np.ndarray]:
        self._differentiate(batch)
        gradients = {name: p.grad for name, p in self._model.named_parameters()}
        return layout.split(self._model.arrays_of(gradients), self._config)

    def weights(self) -> dict[str, np.ndarray]:
        weights = {name: p.detach() for name, p in self._model.named_parameters()}
        return layout.split(self._model.arrays_of(weights), self._config)

    def _differentiate(self, batch: Batch) -> Sums:
        self._optimizer.zero_grad(set_to_none=True)
        sums = self._train_sums(batch)
        sums.losses["total"].backward()
        return sums

    def _set_schedule(self) -> None:
        """keras' Adam adds its epsilon before the bias is corrected, PyTorch's afterwards."""
        group, rate = self._optimizer.param_groups[0], self._schedule.learning_rate
        group["lr"] = rate * self._schedule.decay_rate ** (
            self._num_updates // self._schedule.decay_steps
        )
        self._num_updates += 1
        corrected = (1 - constants.BETAS[1] ** self._num_updates) ** 0.5
        group["eps"] = constants.ADAM_EPSILON / corrected


def build(
    workload: workload_lib.Workload,
    *,
    num_threads: int,
    compiled: bool,
    device: contender_lib.Device = "cpu",
) -> PyTorch:
    """Returns the contender; on the CPU it uses `num_threads` threads."""
    torch.set_num_threads(num_threads)
    return PyTorch(workload, compiled=compiled, device=device)


def _in_float32(candidates: model_lib.Candidates) -> model_lib.Candidates:
    return model_lib.Candidates(*(value.float() for value in candidates))


def _losses_and_counts(candidates: model_lib.Candidates, batch: Batch) -> Sums:
    mask = batch.elements[..., 0] != 0
    true_class = batch.targets[..., 0].long()
    num_places = mask.numel()  # keras' SUM_OVER_BATCH_SIZE: padding counts in the denominator
    logits = candidates.logits.flatten(0, 1)
    entropy = F.cross_entropy(logits, true_class.flatten(), reduction="none")
    losses = {"cls": torch.where(mask.flatten(), entropy, 0).sum() / num_places}
    has_particle = mask & (true_class != 0)
    for column, name in enumerate(constants.REGRESSIONS, start=1):
        output, target = getattr(candidates, name), batch.targets[..., column]
        if name in constants.HUBER_DELTA:
            delta = constants.HUBER_DELTA[name]
            values = F.huber_loss(output, target, reduction="none", delta=delta)
        else:
            values = (output - target).square()
        losses[name] = torch.where(has_particle, values, 0).sum() / num_places
    losses["total"] = sum(c * losses[name] for name, c in constants.COEFFICIENTS.items())
    return Sums(losses, _counts(candidates.logits.detach(), true_class, mask))


def _counts(logits: torch.Tensor, true_class: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    number = layout.NUM_CLASSES
    pair = true_class * number + logits.argmax(-1)
    counts = torch.zeros(number * number, dtype=logits.dtype, device=logits.device)
    counts = counts.index_add(0, pair.flatten(), mask.flatten().to(logits.dtype))
    return counts.view(number, number)
