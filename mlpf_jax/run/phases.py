"""The work of both phases on compiled steps: loading test events, evaluation, timed inference."""

import dataclasses
import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jax
import numpy as np

from mlpf_jax import errors
from mlpf_jax.events import batch as batch_lib
from mlpf_jax.measure import records, timing
from mlpf_jax.model import metrics
from mlpf_jax.report import result
from mlpf_jax.run import feed
from mlpf_jax.run import setup as setup_lib
from mlpf_jax.telemetry import recorder as recorder_lib
from mlpf_jax.training import state, step


def load_all(
    setup: setup_lib.Setup, events: batch_lib.Events, num_events: int
) -> tuple[feed.FedBatch, ...]:
    """Places the first events permanently on the devices, in order."""
    indices = batch_lib.batch_indices(np.arange(num_events), setup.config.global_batch_size)
    batches = (
        feed.Batch(setup.make_batch(events, taken), taken, setup.num_elements(events, taken))
        for taken in indices
    )
    with feed.Feed(batches, setup.put, depth=2) as source:
        return tuple(source)


def one_of_each_length(batches: Sequence[feed.FedBatch]) -> tuple[feed.FedBatch, ...]:
    """Returns the first batch of every length; with full padding there is one."""
    return tuple({batch.num_rows: batch for batch in reversed(batches)}.values())


def evaluate(
    setup: setup_lib.Setup,
    trained: state.TrainState,
    infer_step: Callable[[state.TrainState, Any], step.StepSums],
    batches: Sequence[feed.FedBatch],
) -> result.Quality:
    """Runs the network on all batches, untimed."""
    sums, _ = time_inference(setup, trained, infer_step, batches)
    return quality(jax.device_get(sums), setup.config.data.num_elements)


def time_inference(
    setup: setup_lib.Setup,
    trained: state.TrainState,
    infer_step: Callable[[state.TrainState, Any], step.StepSums],
    batches: Sequence[feed.FedBatch],
) -> tuple[list[step.StepSums], float]:
    """Runs the network once on each batch; returns the sums, on the devices, and the seconds."""

    def advance(current, on_device):
        if setup.stop.reason is not None:
            setup.stop.poll()
        return current, infer_step(current, on_device)

    on_device = [batch.on_device for batch in batches]
    _, sums, seconds = timing.time_steps(advance, trained, on_device, waits_each=setup.waits_each)
    return sums, seconds


def infer(
    setup: setup_lib.Setup,
    trained: state.TrainState,
    infer_step: Callable[[state.TrainState, Any], step.StepSums],
    batches: Sequence[feed.FedBatch],
) -> tuple[records.Sample, ...]:
    """Times inference repeatedly on the batches, without updates.

    The step must have been called before, because a first call is not a sample.
    """
    endless = itertools.cycle(batches)
    # One step to measure its duration, as in training; it counts as a sample.
    num_steps = 1
    samples = []
    number = setup.config.num_infer_samples
    with setup.progress.stage("inference", number) as stage:
        for i in range(number):
            fed = list(itertools.islice(endless, num_steps))
            watch = setup.recorder.watch()
            sums, seconds = time_inference(setup, trained, infer_step, fed)
            samples.append(sample(seconds, fed, watch.end(seconds), own_s=setup.own_s))
            del sums  # many arrays: freed in a window, they would cost energy and no time
            if i == 0:
                num_steps = setup.steps_per_sample(seconds)
            stage.update(i + 1, f"{samples[-1].events_per_s:.3g} events/s")
    return tuple(samples)


def lengthen(
    setup: setup_lib.Setup,
    phase: result.PhaseResult,
    batches: Iterator[feed.FedBatch],
    time_steps: Callable[[Sequence[feed.FedBatch]], tuple[Any, float]],
) -> result.PhaseResult:
    """Takes more samples until the phase is long enough for the devices' counter of energy.

    They count for the energy alone, not for the score. `batches` are those of the phase, without
    end: repeating a short one alone would show fewer events for as much energy. `time_steps` runs
    the step on some of them and returns the outputs and the seconds. Without a counter nothing is
    run; without memory or time for more, the energy stays marked as that of a short window.
    """
    least_s = setup.recorder.least_window_s
    if least_s is None or setup.windows is not None:
        return phase  # several processes would each need another number of samples
    num_steps = setup.steps_per_sample(phase.step_s.median)
    extra: list[records.Sample] = []
    left_s = least_s - sum(one.seconds for one in phase.steady_samples)
    while left_s > 0 and setup.stop.reason is None:
        try:
            fed = list(itertools.islice(batches, num_steps))
            watch = setup.recorder.watch()
            outputs, seconds = time_steps(fed)
        except jax.errors.JaxRuntimeError as error:
            if not errors.is_out_of_memory(error):
                raise
            break
        extra.append(sample(seconds, fed, watch.end(seconds)))
        del fed, outputs  # gives back their memory before the next ones come, outside of a window
        setup.stop.progressed()
        left_s -= seconds
    return dataclasses.replace(phase, extra_samples=tuple(extra))


def sample(
    seconds: float,
    fed: Sequence[feed.FedBatch],
    meanwhile: recorder_lib.Meanwhile,
    segment: int = 0,
    own_s: float | None = None,
) -> records.Sample:
    """Returns the record of a sample with these batches."""
    return records.Sample(
        seconds=seconds,
        num_steps=len(fed),
        num_events=sum(batch.num_events for batch in fed),
        num_elements=sum(batch.num_elements for batch in fed),
        step_rows=tuple(batch.num_rows for batch in fed),
        load=meanwhile.load,
        energy=meanwhile.energy,
        start_s=meanwhile.start_s,
        segment=segment,
        own_s=own_s,
    )


def floats(losses: dict[str, Any]) -> dict[str, float]:
    """Returns the losses as Python's numbers."""
    return {name: float(value) for name, value in losses.items()}


def quality(sums: Sequence[step.StepSums], num_elements: int) -> result.Quality:
    """Returns the losses and accuracies over several batches, each event counted once."""
    num_events = np.array([float(one.num_events) for one in sums])
    totals = [floats(one.mean_losses()) for one in sums]
    losses = {
        name: float(np.average([values[name] for values in totals], weights=num_events))
        for name in totals[0]
    }
    counts = np.array([one.counts for one in sums])
    accuracy = metrics.accuracy(counts, num_events * num_elements)
    return result.Quality(
        losses=losses,
        accuracy=accuracy.padded,
        real_accuracy=accuracy.real,
        weighted_accuracy=accuracy.weighted,
    )
