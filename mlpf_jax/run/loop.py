"""The training loop: epochs of samples of steps, with validation after each epoch."""

import dataclasses
import hashlib
import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jax
import numpy as np
from jaxtyping import Int

from mlpf_jax.events import batch as batch_lib
from mlpf_jax.events import ragged
from mlpf_jax.measure import records, timing
from mlpf_jax.report import result
from mlpf_jax.run import feed, phases
from mlpf_jax.run import setup as setup_lib
from mlpf_jax.training import state, step

TrainStep = Callable[[state.TrainState, Any], tuple[state.TrainState, step.StepSums]]
Order = Callable[[int], Int[np.ndarray, " events"]]  # pass over the data -> events in order


class LossLog:
    """The losses of all steps, in order, and their digest."""

    def __init__(self):
        self._sha256 = hashlib.sha256()
        self._num_steps = 0

    def append(self, losses: dict[str, float]) -> None:
        """Adds the losses of one step.

        Raises:
            RuntimeError: if a loss is not finite.
        """
        self._num_steps += 1
        wrong = [name for name, value in losses.items() if not np.isfinite(value)]
        if wrong:
            raise RuntimeError(
                f"the loss of step {self._num_steps} is not finite ({', '.join(wrong)}): the run "
                "is useless. Try a smaller --learning_rate."
            )
        for name in sorted(losses):
            self._sha256.update(np.float32(losses[name]).tobytes())

    def hexdigest(self) -> str:
        """Returns the SHA-256 of all losses so far, as float32."""
        return self._sha256.hexdigest()


@dataclasses.dataclass(frozen=True)
class TrainOutcome:
    """The results of the training phase."""

    state: state.TrainState
    first_call_s: float
    samples: tuple[records.Sample, ...]
    epochs: tuple[result.EpochResult, ...]
    input_times: records.InputTimes
    seconds: float


def empty_training_batches(
    setup: setup_lib.Setup, events: ragged.SizedEvents, order: Order
) -> tuple[ragged.AnyBatch, ...]:
    """Returns a batch on the devices for every length in training, with tight padding.

    The lengths of the events are known without reading them.
    """
    lengths = np.asarray(events.event_lengths)
    number = sum(setup.config.steps_by_epoch)
    taken = _training_indices(setup, order, number)
    capacities = sorted({setup.packing.capacity(lengths[indices]) for indices in taken})
    return tuple(setup.put(setup.packing.empty(capacity)) for capacity in capacities)


def call_each(
    train_step: TrainStep, given_up: state.TrainState, batches: Sequence[ragged.AnyBatch]
) -> float:
    """Calls the step once with each batch and a state that is then discarded; returns seconds.

    The first call of a program is never a sample. With one program, the first step of training is
    this call. With several, later steps would be first calls too.
    """
    seconds = 0.0
    for batch in batches:
        given_up, _, took = timing.time_steps(train_step, given_up, [batch])
        seconds += took
    return seconds


def train(
    setup: setup_lib.Setup,
    initial: state.TrainState,
    train_step: TrainStep,
    validate: Callable[[state.TrainState], result.Quality],
    events: batch_lib.Events,
    order: Order,
    log: LossLog,
) -> TrainOutcome:
    """Trains for all epochs, validating after each; every step after the first is in a sample."""
    plan = setup.config.steps_by_epoch
    batches = _training_batches(setup, events, order, sum(plan))
    samples: list[records.Sample] = []
    epochs: list[result.EpochResult] = []
    trainer = _Trainer(setup, initial, train_step, log)
    start = timing.clock_ns()
    with (
        setup.progress.stage("training", sum(plan)) as stage,
        feed.Feed(batches, setup.put, setup.batches_ahead) as source,
    ):
        for number, num_steps in enumerate(plan, start=1):
            epoch_start = timing.clock_ns()
            while trainer.steps_in_epoch < num_steps:
                sample = trainer.advance(source, num_steps - trainer.steps_in_epoch)
                if sample is not None:
                    samples.append(sample)
                rate = f"{samples[-1].events_per_s:.3g} events/s" if samples else "first call done"
                stage.update(trainer.num_steps, f"epoch {number}/{len(plan)}, {rate}")
            num_events, quality = trainer.finish_epoch()
            validation_start = timing.clock_ns()
            validation = validate(trainer.state)
            now = timing.clock_ns()
            epochs.append(
                result.EpochResult(
                    seconds=(now - epoch_start) / 1e9,
                    validation_s=(now - validation_start) / 1e9,
                    num_steps=num_steps,
                    num_events=num_events,
                    train=quality,
                    validation=validation,
                )
            )
            setup.progress.say(
                f"epoch {number}/{len(plan)}: {epochs[-1].seconds:.4g} s, "
                f"loss {quality.losses['total']:.6g}, validation loss "
                f"{validation.losses['total']:.6g}, accuracy {validation.accuracy:.4f}"
            )
    return TrainOutcome(
        state=trainer.state,
        first_call_s=trainer.first_call_s,
        samples=tuple(samples),
        epochs=tuple(epochs),
        input_times=source.times,
        seconds=(timing.clock_ns() - start) / 1e9,
    )


class _Trainer:
    """Advances the state sample by sample, and collects the results of the steps of an epoch."""

    def __init__(self, setup: setup_lib.Setup, initial: state.TrainState, train_step, log: LossLog):
        self.state = initial
        self.num_steps = 0
        self.first_call_s = 0.0
        self._setup = setup
        self._train_step = train_step
        self._log = log
        self._steps_per_sample = 1
        self._fed: list[feed.FedBatch] = []
        self._sums: list[step.StepSums] = []

    @property
    def steps_in_epoch(self) -> int:
        """Number of steps since the start of the epoch."""
        return len(self._sums)

    def advance(self, source: feed.Feed, num_steps_left: int) -> records.Sample | None:
        """Runs the steps of one sample. The first call of all is not a sample."""
        fed = source.take(min(self._steps_per_sample, num_steps_left))
        on_device = [batch.on_device for batch in fed]
        watch = self._setup.recorder.watch()
        self.state, sums, seconds = timing.time_steps(
            self._train_step, self.state, on_device, waits_each=self._setup.waits_each
        )
        meanwhile = watch.end(seconds)
        sums = jax.device_get(sums)
        for one in sums:
            self._log.append(phases.floats(one.mean_losses()))
        self._fed += fed
        self._sums += sums
        self.num_steps += len(fed)
        if self.num_steps == 1:
            self.first_call_s = seconds
            return None
        if self.num_steps == 2:
            self._steps_per_sample = self._setup.steps_per_sample(seconds)
        return phases.sample(seconds, fed, meanwhile)

    def finish_epoch(self) -> tuple[int, result.Quality]:
        """Returns the number of events and the quality of the steps since the last call."""
        num_events = sum(batch.num_events for batch in self._fed)
        quality = phases.quality(self._sums, self._setup.config.data.num_elements)
        self._fed, self._sums = [], []
        return num_events, quality


def _training_batches(
    setup: setup_lib.Setup, events: batch_lib.Events, order: Order, num_batches: int
) -> Iterator[ragged.AnyBatch]:
    for taken in _training_indices(setup, order, num_batches):
        yield setup.make_batch(events, taken)


def _training_indices(
    setup: setup_lib.Setup, order: Order, num_batches: int
) -> Iterator[Int[np.ndarray, " taken"]]:
    """Yields batches, pass after pass over the data; an epoch is a number of batches."""
    passes = (
        batch_lib.batch_indices(order(number), setup.shape.num_events)
        for number in itertools.count()
    )
    return itertools.islice(itertools.chain.from_iterable(passes), num_batches)
