"""The training loop: epochs of samples of steps, with validation after each epoch."""

import dataclasses
import itertools
from collections.abc import Callable, Generator, Iterator, Sequence
from typing import Any, Protocol, runtime_checkable

import jax
import numpy as np
from jaxtyping import Int

from mlpf_jax import progress as progress_lib
from mlpf_jax import stopping
from mlpf_jax.events import batch as batch_lib
from mlpf_jax.events import ragged
from mlpf_jax.measure import timing
from mlpf_jax.report import result
from mlpf_jax.run import feed, phases
from mlpf_jax.run import setup as setup_lib
from mlpf_jax.run import track as track_lib
from mlpf_jax.training import state, step

TrainStep = Callable[[state.TrainState, Any], tuple[state.TrainState, step.StepSums]]
Order = Callable[[int], Int[np.ndarray, " events"]]  # pass over the data -> events in order


@runtime_checkable
class Keeper(Protocol):
    """What keeps the progress of training safe between two samples."""

    def note_first_step(self) -> None:
        """Called when the first step of this process is done."""

    def visit(self, current: state.TrainState, seconds: float) -> None:
        """Called after every sample, and after every epoch.

        Raises:
            stopping.Stopped: if the run must end.
        """

    def rescue(self, current: state.TrainState) -> None:
        """Called when training ends, also early, with the state to keep."""

    def object_to(self, problem: str) -> None:
        """Called for a loss that is not finite.

        Raises:
            RuntimeError: if the run must end.
        """


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
    batches: Iterator[feed.Batch],
    track: track_lib.Track,
    keeper: Keeper,
) -> tuple[state.TrainState, int]:
    """Trains for all epochs that `track` has not finished, validating after each.

    Every step after the first one here is in a sample. Returns the final state, and the number of
    steps here; the results are in `track`.

    Raises:
        RuntimeError: if no process of the run has made more than one step.
    """
    total = sum(setup.config.steps_by_epoch)
    with (
        setup.progress.stage("training", total) as stage,
        feed.Feed(batches, setup.put, setup.batches_ahead) as source,
        setup.stop.deferred(),
    ):
        trainer = _Trainer(setup, initial, train_step, source, track, keeper, stage)
        try:
            for number in range(len(track.epochs), len(setup.config.steps_by_epoch)):
                trainer.run_epoch(number, validate)
        except stopping.Stopped:
            keeper.rescue(trainer.state)
            raise
        keeper.rescue(trainer.state)  # here, where no signal ends it halfway
    if not track.samples:
        raise RuntimeError(
            "training has no sample: each process of this run made one step, and the first one is "
            "never a sample. Train anew with another --checkpoint_dir, and more steps."
        )
    return trainer.state, trainer.steps_here


class _Trainer:
    """Advances the state sample by sample, and tells the track."""

    def __init__(
        self,
        setup: setup_lib.Setup,
        initial: state.TrainState,
        train_step: TrainStep,
        source: feed.Feed,
        track: track_lib.Track,
        keeper: Keeper,
        stage: progress_lib.Stage,
    ):
        self.state = initial
        self.steps_here = 0
        self._setup = setup
        self._train_step = train_step
        self._source = source
        self._track = track
        self._keeper = keeper
        self._stage = stage
        self._steps_per_sample = 1
        self._input_times = track.input_times
        self._lap_ns = timing.clock_ns()

    def run_epoch(self, number: int, validate: Callable[[state.TrainState], result.Quality]):
        """Runs what is left of an epoch, and validates."""
        track, plan = self._track, self._setup.config.steps_by_epoch
        while (num_left := plan[number] - len(track.sums)) > 0:
            seconds = self._advance(num_left)
            rate = "first call done"
            if track.samples:
                rate = f"{track.samples[-1].events_per_s:.3g} events/s"
            self._stage.update(track.num_steps, f"epoch {number + 1}/{len(plan)}, {rate}")
            if len(track.sums) < plan[number]:
                self._visit(seconds)
        self._lap()  # what a stop during validation keeps
        quality = phases.quality(track.sums, self._setup.config.data.num_elements)
        validation_start = timing.clock_ns()
        validation = validate(self.state)
        validation_s = (timing.clock_ns() - validation_start) / 1e9
        self._lap()
        track.close_epoch(plan[number], quality, validation, validation_s, self._keeper.object_to)
        self._setup.progress.tell(
            f"epoch {number + 1}/{len(plan)}: {track.epochs[-1].seconds:.4g} s, "
            f"loss {quality.losses['total']:.6g}, validation loss "
            f"{validation.losses['total']:.6g}, accuracy {validation.accuracy:.4f}"
        )
        self._visit(0.0)

    def _advance(self, num_steps_left: int) -> float:
        """Runs the steps of one sample; returns the seconds. The first call is not a sample."""
        fed = self._source.take(min(self._steps_per_sample, num_steps_left))
        on_device = [batch.on_device for batch in fed]
        windows = self._setup.windows
        if windows is not None:
            windows.note = [batch.digests for batch in fed]
        watch = self._setup.recorder.watch()
        self.state, sums, seconds = timing.time_steps(
            self._train_step, self.state, on_device, waits_each=self._setup.waits_each
        )
        meanwhile = watch.end(seconds)
        if windows is not None:
            fed = of_all_devices(fed, windows.notes)
        self._track.add_steps(fed, jax.device_get(sums), self._keeper.object_to)
        self.steps_here += len(fed)
        if self.steps_here == 1:
            self._track.add_first_call(seconds)
            self._keeper.note_first_step()
            return seconds
        if self.steps_here == 2:
            self._steps_per_sample = self._setup.steps_per_training_sample(seconds)
        segment, own_s = self._track.segment, self._setup.own_s
        self._track.samples.append(phases.sample(seconds, fed, meanwhile, segment, own_s))
        return seconds

    def _lap(self) -> None:
        """Adds the time since the last lap to the epoch."""
        now = timing.clock_ns()
        self._track.add_time((now - self._lap_ns) / 1e9, self._input_times + self._source.times)
        self._lap_ns = now

    def _visit(self, seconds: float) -> None:
        """Lets the keeper work, outside of the time of the epoch."""
        self._lap()
        self._keeper.visit(self.state, seconds)
        self._lap_ns = timing.clock_ns()


def of_all_devices(
    fed: Sequence[feed.FedBatch], notes: Sequence[Sequence[Sequence[str]]]
) -> list[feed.FedBatch]:
    """Returns the batches with the digests of the devices of all processes.

    `notes` has those of each process, batch by batch; it is empty except in process 0.
    """
    if not notes:
        return list(fed)
    return [
        dataclasses.replace(batch, digests=tuple(itertools.chain(*parts)))
        for batch, *parts in zip(fed, *notes, strict=True)
    ]


def training_batches(
    setup: setup_lib.Setup, events: batch_lib.Events, order: Order, num_done: int
) -> Iterator[feed.Batch]:
    """Yields the batches of all steps after the first `num_done`, with their events."""
    total = sum(setup.config.steps_by_epoch)
    for taken in itertools.islice(_training_indices(setup, order, total), num_done, None):
        num_elements = setup.num_elements(events, taken)
        yield feed.Batch(setup.make_batch(events, taken), taken, num_elements)


def endless_batches(
    setup: setup_lib.Setup, events: batch_lib.Events, order: Order
) -> Generator[feed.FedBatch]:
    """Yields the batches of all steps on the devices, again and again; close it afterwards."""
    every = (training_batches(setup, events, order, 0) for _ in itertools.count())
    with feed.Feed(itertools.chain.from_iterable(every), setup.put, setup.batches_ahead) as source:
        yield from source


def _training_indices(
    setup: setup_lib.Setup, order: Order, num_batches: int
) -> Iterator[Int[np.ndarray, " taken"]]:
    """Yields batches, pass after pass over the data; an epoch is a number of batches."""
    passes = (
        batch_lib.batch_indices(order(number), setup.config.global_batch_size)
        for number in itertools.count()
    )
    return itertools.islice(itertools.chain.from_iterable(passes), num_batches)
