"""One run, from events to a result, in order."""

import contextlib
import dataclasses
import functools
import hashlib
import itertools
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from mlpf_jax import config as config_lib
from mlpf_jax import progress as progress_lib
from mlpf_jax import stopping
from mlpf_jax.events import batch as batch_lib
from mlpf_jax.events import ragged
from mlpf_jax.hosts import collectives
from mlpf_jax.hosts import group as group_lib
from mlpf_jax.hosts import windows as windows_lib
from mlpf_jax.measure import machine, memory, profiling, records, surroundings, timing, window
from mlpf_jax.report import result
from mlpf_jax.run import feed, loop, phases, programs, resuming, serving
from mlpf_jax.run import inputs as inputs_lib
from mlpf_jax.run import setup as setup_lib
from mlpf_jax.run import track as track_lib
from mlpf_jax.telemetry import recorder as recorder_lib
from mlpf_jax.training import cost, parallel, state, step

# Constants to fold into the run's key, by purpose.
_INIT, _ORDER, _STEP = 0, 1, 2


class Finished(NamedTuple):
    """The result, and the remaining optional work, in order, by the flag that requested it."""

    result: result.RunResult
    extras: Mapping[str, Callable[[], None]]


def run(
    config: config_lib.RunConfig,
    devices: Sequence[jax.Device],
    inputs: inputs_lib.Inputs,
    environment: Mapping[str, Any],
    progress: progress_lib.Progress,
    checkpoint: Path | None = None,
    profile: Path | None = None,
    recorder: recorder_lib.Recorder | None = None,
    stop: stopping.Stop | None = None,
    keeper: resuming.Keeper | None = None,
    group: group_lib.Group | None = None,
) -> Finished:
    """Trains, validates after every epoch, infers, and returns the result.

    The remaining work is to write the final weights to `checkpoint` after training, and to trace
    one more step of each kind into the folder `profile`. Inference without training reads its
    weights from `checkpoint`. Each process of a `group` returns its own result.

    Raises:
        RuntimeError: if a loss is not finite.
        ValueError: if the checkpoint cannot be used.
    """
    started_at = records.now()
    spread = parallel.Devices(devices, config.parallel)
    recorder = recorder or recorder_lib.Recorder()
    stop = stop or stopping.Stop()
    keeper = keeper or resuming.Keeper(config_lib.FilesConfig(), stop, progress)
    own = windows = None
    if group is not None:
        own, windows = spread.own, windows_lib.Windows(group)
        window.hook = windows
    setup = setup_lib.Setup(
        config, devices[0].platform, spread.split, progress, recorder, stop, own, windows
    )
    key = jax.random.key(config.seed)
    before = machine.read()

    known = resuming.facts(config, devices, inputs, environment, recorder.descriptions)
    resume = functools.partial(keeper.open, known)
    if group is not None:
        group.agree(resuming.common(known))
        collectives.check_sums(devices)
        resume = functools.partial(_resume_together, group, keeper, devices, known)
    shapes = state.shapes(config)
    current, init_s = _first_state(setup, spread, key, shapes, checkpoint, resume)
    graph = cost.graph_cost(config, shapes)
    test = _prepare_test(setup, spread, inputs.test.events, current)
    keeper.check_program("inference", test.step.sha256)
    track = keeper.track
    trained = training = None
    if inputs.train is not None:
        flops = graph.train_flops
        trained = _train(setup, spread, current, inputs.train.events, test, key, keeper, flops)
        current, training = trained.state, trained.phase

    inference = quality = None
    if config.mode != "train":
        inference = _infer(setup, current, test, graph.infer_flops)
        # Trained weights have just been validated on the same events.
        quality = track.epochs[-1].validation if trained else test.quality(setup, current)
        if wrong := track_lib.not_finite(quality.losses if not trained else {}):
            keeper.object_to(f"the inference loss is not finite ({wrong})")

    if group is not None:
        collectives.check_sums(devices)
    losses = track.losses or ([quality.losses] if quality else [])
    finished = result.RunResult(
        config=config,
        devices=tuple(_describe(device) for device in devices),
        is_emulated=devices[0].platform == "cpu" and len(devices) > 1,
        environment=environment,
        surroundings=surroundings.read(),
        started_at=started_at,
        finished_at=records.now(),
        init_s=init_s,
        train_data=inputs.train.description if inputs.train else None,
        test_data=inputs.test.description,
        training=training,
        inference=inference,
        inference_quality=quality,
        inference_weights="trained" if trained else "checkpoint" if checkpoint else "initial",
        epochs=tuple(track.epochs),
        input_times=track.input_times if trained else None,
        train_seconds=track.train_s,
        segments=(*track.earlier, keeper.segment),
        no_score=track.no_score,
        not_finite_steps=tuple(track.not_finite),
        peak_device_bytes=memory.peak_bytes(devices[spread.own[0]]),
        peak_process_bytes=memory.peak_process_bytes(),
        machine=machine.MachineChange(before=before, after=machine.read()),
        graph_sha256=graph.graph_sha256,
        loss_sha256=track_lib.loss_sha256(losses),
        batch_sha256=track.batch_sha256 if trained else None,
        params_sha256=params_sha256(current),
    )
    extras = _extras(setup, spread, finished, current, trained, test, checkpoint, profile)
    return Finished(finished, extras)


def _resume_together(
    group: group_lib.Group,
    keeper: resuming.Keeper,
    devices: Sequence[jax.Device],
    known: resuming.Facts,
    like: state.TrainState,
) -> state.TrainState | None:
    """Returns the state of a checkpoint, which comes from process 0, as its track."""
    others = {f"host of process {one.process_id}": one.boot for one in group.members[1:]}
    opened = keeper.open({**known, **others}, like)
    document = group.share(None if opened is None else keeper.track.to_json())
    if document is None:
        return None
    keeper.track = track_lib.Track.from_json(document)
    return collectives.from_first(devices, state.zeros(like) if opened is None else opened)


def _first_state(
    setup: setup_lib.Setup,
    spread: parallel.Devices,
    key: jax.Array,
    shapes: state.TrainState,
    checkpoint: Path | None,
    resume: Callable[[state.TrainState], state.TrainState | None],
) -> tuple[state.TrainState, float]:
    """Returns the state to begin with on all devices, drawn or from a checkpoint, and the seconds.

    What lies on one device or on the host alone has no name after this: its memory is free again.
    """
    start = timing.clock_ns()
    first = resume(shapes)
    if first is None and setup.config.mode == "infer" and checkpoint is not None:
        first = resuming.checkpoints().load_weights(checkpoint, shapes)
    if first is None:
        first = _draw(setup, key)
    state.require_float32(first, "the state: ")
    return jax.block_until_ready(spread.replicate(first)), (timing.clock_ns() - start) / 1e9


def _draw(setup: setup_lib.Setup, key: jax.Array) -> state.TrainState:
    setup.progress.say("drawing the weights")
    return jax.block_until_ready(state.create(setup.config, jax.random.fold_in(key, _INIT)))


@dataclasses.dataclass(frozen=True)
class _Test:
    """The test events on the devices, and the inference step, which was called once."""

    batches: Sequence[feed.FedBatch]
    examples: Sequence[feed.FedBatch]  # one batch of each length
    step: programs.Programs
    first_call_s: float

    def quality(self, setup: setup_lib.Setup, current: state.TrainState) -> result.Quality:
        """The quality of these weights on all test events."""
        return phases.evaluate(setup, current, self.step, self.batches)

    def timed(
        self, setup: setup_lib.Setup, current: state.TrainState
    ) -> Callable[[Sequence[feed.FedBatch]], tuple[Any, float]]:
        """Returns a function that runs the step on batches and returns outputs and seconds."""
        return lambda fed: phases.time_inference(setup, current, self.step, fed)

    def call(self, current: state.TrainState) -> None:
        """Calls the step once more."""
        jax.block_until_ready(self.step(current, self.examples[0].on_device))


def _prepare_test(
    setup: setup_lib.Setup,
    spread: parallel.Devices,
    events: batch_lib.Events,
    current: state.TrainState,
) -> _Test:
    batches = phases.load_all(setup, events, setup.config.data.num_test_events)
    examples = phases.one_of_each_length(batches)
    state.require_float32([example.on_device for example in examples], "the events: ")
    compiled = programs.compile_step(
        "inference",
        spread.spread_infer_step(functools.partial(step.infer_step, setup.config)),
        [example.on_device for example in examples],
        (current, ()),
        setup.progress,
        from_cache=not setup.config.measures_compile,
    )
    memory.require_room(compiled.memory, setup.platform, setup.num_own)
    first_call_s = sum(
        phases.time_inference(setup, current, compiled, [example])[1] for example in examples
    )
    return _Test(batches, examples, compiled, first_call_s)


def _infer(
    setup: setup_lib.Setup, current: state.TrainState, test: _Test, flops_per_event: float
) -> result.PhaseResult:
    """Times inference, at the same time as the other runs of a meeting."""
    with window.together("inference", _noted(setup.stop, lambda: test.call(current))):
        samples = phases.infer(setup, current, test.step, test.batches)
        phase = test.step.phase(setup.config, test.first_call_s, samples, flops_per_event)
        endless = itertools.cycle(test.batches)
        return phases.lengthen(setup, phase, endless, test.timed(setup, current))


@dataclasses.dataclass(frozen=True)
class _Trained:
    """The results of training, and its step for further calls."""

    state: state.TrainState
    phase: result.PhaseResult
    step: loop.TrainStep
    batch: Any  # on the devices


def _train(
    setup: setup_lib.Setup,
    spread: parallel.Devices,
    current: state.TrainState,
    events: ragged.SizedEvents,
    test: _Test,
    key: jax.Array,
    keeper: resuming.Keeper,
    flops_per_event: float,
) -> _Trained:
    """Compiles the step and trains, in the order given by the key; donates `current`."""
    config = setup.config
    order = functools.partial(_order, config, jax.random.fold_in(key, _ORDER))
    step_key = spread.replicate(jax.random.fold_in(key, _STEP))
    empty: Sequence[Any] = ()
    if config.data.padding == "tight":  # otherwise all batches have the length of the test batches
        empty = loop.empty_training_batches(setup, events, order)
    batches = empty or [example.on_device for example in test.examples]
    compiled = programs.compile_step(
        "training",
        spread.spread_train_step(functools.partial(step.train_step, config)),
        batches,
        (current, (step_key,)),
        setup.progress,
        from_cache=not config.measures_compile,
    )
    keeper.check_program("training", compiled.sha256)
    memory.require_room(compiled.memory, setup.platform, setup.num_own)

    def train_step(current, batch):
        return compiled(current, batch, step_key)

    first_calls_s = loop.call_each(train_step, spread.replicate(current), empty) if empty else None
    validate = functools.partial(test.quality, setup)
    left = loop.training_batches(setup, events, order, keeper.track.num_steps)
    filler = _noted(setup.stop, _filler(train_step, spread, current, batches[-1]))
    with window.together("training", filler):
        trained, steps_here = loop.train(
            setup, current, train_step, validate, left, keeper.track, keeper
        )
        first_call_s = first_calls_s or keeper.track.first_call_s or 0.0
        samples = tuple(keeper.track.samples)
        phase = compiled.phase(config, first_call_s, samples, flops_per_event)
        if steps_here:  # else the first call would be part of it
            spare = _spare(setup, train_step, spread, trained)
            with contextlib.closing(loop.endless_batches(setup, events, order)) as endless:
                phase = phases.lengthen(setup, phase, endless, spare)
    return _Trained(trained, phase, train_step, batches[-1])


def _extras(
    setup: setup_lib.Setup,
    spread: parallel.Devices,
    finished: result.RunResult,
    current: state.TrainState,
    trained: _Trained | None,
    test: _Test,
    checkpoint: Path | None,
    profile: Path | None,
) -> dict[str, Callable[[], None]]:
    """Returns the remaining optional work, see `run`."""
    extras: dict[str, Callable[[], None]] = {}
    if checkpoint is not None and trained is not None:
        extras["checkpoint"] = lambda: resuming.checkpoints().export(checkpoint, current)
    if profile is not None:
        steps = {"inference step": lambda: test.step(current, test.examples[0].on_device)}
        if trained is not None:  # last, because it donates the state
            again, batch = trained.step, trained.batch
            steps["training step"] = lambda: again(current, batch)
        extras["profile"] = lambda: setup.progress.say(
            f"profile: {profiling.write_trace(profile, steps)}"
        )
    if window.server is not None:
        served: dict[str, loop.TrainStep] = {"inference": lambda s, x: (s, test.step(s, x))}
        if trained is not None:
            served["training"] = trained.step
        apart, batch = spread.replicate(current), test.examples[0].on_device
        windows = serving.windows(setup, served, finished.phases, apart, batch)
        extras["serve"] = functools.partial(window.server, windows)
    return extras


def _spare(
    setup: setup_lib.Setup,
    train_step: loop.TrainStep,
    spread: parallel.Devices,
    current: state.TrainState,
) -> Callable[[Sequence[feed.FedBatch]], tuple[Any, float]]:
    """Returns a function that trains a copy of the state and returns outputs and seconds."""
    spare: state.TrainState | None = None

    def time_steps(fed: Sequence[feed.FedBatch]) -> tuple[Any, float]:
        nonlocal spare
        if spare is None:
            spare = jax.block_until_ready(spread.replicate(current))
        on_device = [batch.on_device for batch in fed]
        spare, outputs, seconds = timing.time_steps(
            train_step, spare, on_device, waits_each=setup.waits_each
        )
        return outputs, seconds

    return time_steps


def _noted(stop: stopping.Stop, work: Callable[[], None]) -> Callable[[], None]:
    """Returns a function that works and notes the progress: a copy that waits does not hang."""

    def call() -> None:
        work()
        stop.progressed()

    return call


def _filler(
    train_step: loop.TrainStep, spread: parallel.Devices, current: state.TrainState, batch: Any
) -> Callable[[], None]:
    """Returns a function that trains one more step, on a state of its own."""
    spare = None if window.meeting is None else spread.replicate(current)

    def call() -> None:
        nonlocal spare
        assert spare is not None
        spare, _ = jax.block_until_ready(train_step(spare, batch))

    return call


def _describe(device: jax.Device) -> result.Device:
    return result.Device(
        device_id=str(device.id), name=device.device_kind, platform=device.platform
    )


def _order(config: config_lib.RunConfig, key: jax.Array, number: int) -> np.ndarray:
    """Returns the order of events in one pass over the data: as stored, or shuffled."""
    num_events = config.data.num_train_events
    if not config.data.shuffle:
        return np.arange(num_events)
    return np.asarray(jax.random.permutation(jax.random.fold_in(key, number), num_events))


def params_sha256(current: state.TrainState) -> str:
    """Returns the SHA-256 of all weights with their names, including the fixed ones."""
    digest = hashlib.sha256()
    weights = (current.params, current.rotations)
    for path, leaf in jax.tree_util.tree_leaves_with_path(weights):
        digest.update(jax.tree_util.keystr(path).encode())
        digest.update(np.asarray(leaf.addressable_data(0)).tobytes())
    return digest.hexdigest()
