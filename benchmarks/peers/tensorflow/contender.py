"""TensorFlow/Keras as a contender: its steps as tf.functions, or compiled whole by XLA."""

import importlib.metadata
import platform
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf  # pyrefly: ignore[missing-import]

from benchmarks.peers import constants, layout
from benchmarks.peers import contender as contender_lib
from benchmarks.peers import workload as workload_lib
from benchmarks.peers.tensorflow import model as model_lib

Tensor = Any


class Batch(NamedTuple):
    """The input of the model: [events, elements, 12] and [events, elements, 7]."""

    elements: Tensor
    targets: Tensor


class Sums(NamedTuple):
    """The results of a step."""

    losses: dict[str, Tensor]
    counts: Tensor  # [true, predicted], real elements


class TensorFlow:
    """The network, its optimiser and the two steps."""

    def __init__(self, workload: workload_lib.Workload, *, compiled: bool):
        self._config = workload.model
        arrays = layout.merge(workload.weights, workload.model)
        self._model = model_lib.PFNet(workload.model, arrays, walks=not compiled)
        schedule = tf.keras.optimizers.schedules.ExponentialDecay(
            workload.train.learning_rate,
            workload.train.decay_steps,
            workload.train.decay_rate,
            staircase=True,
        )
        # The legacy optimiser's update is one operation per weight.
        self._optimizer = tf.keras.optimizers.legacy.Adam(
            schedule, *constants.BETAS, epsilon=constants.ADAM_EPSILON
        )

        def program(function: Callable) -> Callable:
            return tf.function(function, jit_compile=compiled or None)

        self._train, self._infer = program(self._update), program(self._sums)
        self._candidates, self._gradients = program(self._model), program(self._differentiate)

    def put(self, elements: np.ndarray, targets: np.ndarray) -> Batch:
        return Batch(tf.constant(elements), tf.constant(targets))

    def train(self, batch: Batch) -> Sums:
        return self._train(batch)

    def infer(self, batch: Batch) -> Sums:
        return self._infer(batch)

    def wait(self, sums: Sums) -> None:
        sums.losses["total"].numpy()

    def fetch(self, sums: Sums) -> tuple[dict[str, float], np.ndarray]:
        return {name: float(loss) for name, loss in sums.losses.items()}, sums.counts.numpy()

    def peak_bytes(self) -> int | None:
        return None

    def versions(self) -> dict[str, str]:
        return {
            "python": platform.python_version(),
            "tensorflow": tf.__version__,
            "keras": importlib.metadata.version("keras"),
            "numpy": np.__version__,
        }

    def outputs(self, batch: Batch) -> dict[str, np.ndarray]:
        candidates = self._candidates(batch.elements)
        named = {name: getattr(candidates, name)[..., None] for name in constants.REGRESSIONS}
        named |= {"logits": candidates.logits, "cls": tf.nn.softmax(candidates.logits)}
        return {name: value.numpy() for name, value in named.items()}

    def gradients(self, batch: Batch) -> dict[str, np.ndarray]:
        _, gradients = self._gradients(batch)
        return self._named(gradients)

    def weights(self) -> dict[str, np.ndarray]:
        return self._named(self._model.trainable_variables)

    def _named(self, values: list[Tensor]) -> dict[str, np.ndarray]:
        variables = self._model.trainable_variables
        by_id = {id(variable): value for variable, value in zip(variables, values, strict=True)}
        return layout.split(self._model.arrays_of(by_id), self._config)

    def _sums(self, batch: Batch) -> Sums:
        return _losses_and_counts(self._model(batch.elements), batch)

    def _differentiate(self, batch: Batch) -> tuple[Sums, list[Tensor]]:
        with tf.GradientTape() as tape:
            sums = self._sums(batch)
        return sums, tape.gradient(sums.losses["total"], self._model.trainable_variables)

    def _update(self, batch: Batch) -> Sums:
        sums, gradients = self._differentiate(batch)
        pairs = zip(gradients, self._model.trainable_variables, strict=True)
        self._optimizer.apply_gradients(pairs)
        return sums


def build(
    workload: workload_lib.Workload,
    *,
    num_threads: int,
    compiled: bool,
    device: contender_lib.Device = "cpu",
) -> TensorFlow:
    """Returns the contender on the CPU with `num_threads` threads; its lock has no other device.

    Raises:
        ValueError: for another device, or a precision other than float32.
    """
    if device != "cpu" or workload.model.precision != "float32":
        raise ValueError("TensorFlow takes part on the CPU and in float32 only.")
    tf.config.set_visible_devices([], "GPU")
    tf.config.threading.set_intra_op_parallelism_threads(num_threads)
    tf.config.threading.set_inter_op_parallelism_threads(num_threads)
    tf.keras.backend.set_floatx(workload.elements.dtype.name)
    return TensorFlow(workload, compiled=compiled)


def _losses_and_counts(candidates: model_lib.Candidates, batch: Batch) -> Sums:
    mask = batch.elements[..., 0] != 0
    true_class = tf.cast(batch.targets[..., 0], tf.int32)
    # keras' SUM_OVER_BATCH_SIZE: padding counts in the denominator.
    entropy = tf.nn.sparse_softmax_cross_entropy_with_logits(true_class, candidates.logits)
    losses = {"cls": tf.reduce_mean(tf.where(mask, entropy, 0))}
    has_particle = mask & (true_class != 0)
    for column, name in enumerate(constants.REGRESSIONS, start=1):
        error = getattr(candidates, name) - batch.targets[..., column]
        if name in constants.HUBER_DELTA:
            values = _huber(error, constants.HUBER_DELTA[name])
        else:
            values = tf.square(error)
        losses[name] = tf.reduce_mean(tf.where(has_particle, values, 0))
    losses["total"] = tf.add_n([c * losses[name] for name, c in constants.COEFFICIENTS.items()])
    return Sums(losses, _counts(candidates.logits, true_class, mask))


def _huber(error: Tensor, delta: float) -> Tensor:
    size = tf.abs(error)
    inner = tf.minimum(size, delta)
    return inner * (size - 0.5 * inner)


def _counts(logits: Tensor, true_class: Tensor, mask: Tensor) -> Tensor:
    number = layout.NUM_CLASSES
    pair = true_class * number + tf.argmax(logits, axis=-1, output_type=tf.int32)
    counts = tf.math.unsorted_segment_sum(tf.cast(mask, logits.dtype), pair, number * number)
    return tf.reshape(counts, (number, number))
