"""The story of one run, from events to a result, top to bottom."""

import dataclasses
import datetime
import functools
import hashlib
import types
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from mlpf_jax import config as config_lib
from mlpf_jax import inputs as inputs_lib
from mlpf_jax import phases
from mlpf_jax import progress as progress_lib
from mlpf_jax.measure import machine, memory, profiling, records, timing
from mlpf_jax.results import result
from mlpf_jax.training import cost, parallel, state, step

# What the run's one key is folded with, by purpose.
_INIT, _ORDER, _STEP = 0, 1, 2

_Step = Callable[[Any, Any], Any]  # state, batch -> what the step returns


def pick_devices(config: config_lib.RunConfig) -> tuple[jax.Device, ...]:
    """Returns the devices of the run, out of those that are there.

    Raises:
        ValueError: if there are fewer than asked for, or they lack the precision.
    """
    found = jax.local_devices()
    kind = found[0].device_kind
    if len(found) < config.num_devices:
        raise ValueError(
            f"--num_devices={config.num_devices}: only {len(found)} of platform "
            f"{found[0].platform} ({kind}) can be used here."
        )
    capability = str(getattr(found[0], "compute_capability", ""))
    if config.model.precision == "tf32" and not _has_tf32(found[0].platform, capability):
        raise ValueError(
            f"--precision=tf32: {kind} has no TF32; it takes an NVIDIA GPU of compute capability "
            "8.0 or later. Choose float32 or bf16."
        )
    return tuple(found[: config.num_devices])


def _has_tf32(platform: str, compute_capability: str) -> bool:
    """Tells NVIDIA's "8.0" and later from older ones and from AMD's "gfx942"."""
    major = compute_capability.partition(".")[0]
    return platform == "gpu" and major.isdigit() and int(major) >= 8


@dataclasses.dataclass(frozen=True)
class _Program:
    """A compiled step and what compiling it told."""

    call: jax.stages.Compiled
    times: records.CompileTimes
    memory: records.StepMemory
    sha256: str

    def phase(
        self, first_call_s: float, samples: tuple[records.Sample, ...], flops_per_event: float
    ) -> result.PhaseResult:
        return result.PhaseResult(
            compile_times=self.times,
            first_call_s=first_call_s,
            samples=samples,
            memory=self.memory,
            program_sha256=self.sha256,
            flops_per_event=flops_per_event,
        )


def run(
    config: config_lib.RunConfig,
    devices: Sequence[jax.Device],
    inputs: inputs_lib.Inputs,
    environment: Mapping[str, Any],
    progress: progress_lib.Progress,
    checkpoint: Path | None = None,
    profile: Path | None = None,
) -> result.RunResult:
    """Trains, validates after every epoch, infers, and returns all that was measured.

    Training writes its last weights to `checkpoint`; inference alone takes its weights from there.
    When all is measured, one more step of each kind is traced into the folder `profile`.

    Raises:
        RuntimeError: if a loss is not finite.
        ValueError: if the checkpoint cannot be written there, or be used.
    """
    started_at = _now()
    spread = parallel.Devices(devices, config.parallel)
    setup = phases.Setup(config, devices[0].platform, spread.split, progress)
    key = jax.random.key(config.seed)
    log = phases.LossLog()
    before = machine.read()

    current, init_s = _first_state(setup, spread, key, checkpoint)
    graph = cost.graph_cost(config)
    test_batches = phases.load_all(setup, inputs.test.events, config.data.num_test_events)
    batch = test_batches[0].on_device

    infer_step = spread.spread_infer_step(functools.partial(step.infer_step, config))
    infer_program = _compile("inference", infer_step, (current, batch), progress)
    _, first_infer_s = phases.time_inference(setup, current, infer_program.call, test_batches[:1])
    validate = functools.partial(
        phases.evaluate, setup, infer_step=infer_program.call, batches=test_batches
    )

    training = outcome = train_step = None
    if inputs.train is not None:
        train_program, train_step = _training_step(setup, spread, (current, batch), key)
        order = functools.partial(_order, config, jax.random.fold_in(key, _ORDER))
        outcome = phases.train(
            setup, current, train_step, validate, inputs.train.events, order, log
        )
        current = outcome.state
        training = train_program.phase(outcome.first_call_s, outcome.samples, graph.train_flops)
        if checkpoint is not None:
            _checkpoints().save(checkpoint, current)

    inference = quality = None
    if config.mode != "train":
        samples = phases.infer(setup, current, infer_program.call, test_batches)
        # Trained weights have just been validated on the same events.
        quality = outcome.epochs[-1].validation if outcome else validate(current)
        inference = infer_program.phase(first_infer_s, samples, graph.infer_flops)

    if outcome is None and quality is not None:
        log.append(dict(quality.losses))
    finished = result.RunResult(
        config=config,
        devices=tuple(_describe(device) for device in devices),
        is_emulated=devices[0].platform == "cpu" and len(devices) > 1,
        environment=environment,
        started_at=started_at,
        finished_at=_now(),
        init_s=init_s,
        train_data=inputs.train.description if inputs.train else None,
        test_data=inputs.test.description,
        training=training,
        inference=inference,
        inference_quality=quality,
        inference_weights="trained" if outcome else "checkpoint" if checkpoint else "initial",
        epochs=outcome.epochs if outcome else (),
        input_times=outcome.input_times if outcome else None,
        train_seconds=outcome.seconds if outcome else 0.0,
        peak_device_bytes=memory.peak_bytes(devices[0]),
        peak_process_bytes=memory.peak_process_bytes(),
        machine=machine.MachineChange(before=before, after=machine.read()),
        graph_sha256=graph.graph_sha256,
        loss_sha256=log.hexdigest(),
        params_sha256=params_sha256(current),
    )
    if profile is not None:
        steps = {"inference step": infer_program.call, "training step": train_step}
        _trace(profile, steps, (current, batch), progress)
    return finished


def _first_state(
    setup: phases.Setup, spread: parallel.Devices, key: jax.Array, checkpoint: Path | None
) -> tuple[state.TrainState, float]:
    """Returns the state on all devices, drawn or from the checkpoint, and the seconds it took."""
    setup.progress.say("drawing the weights")
    start = timing.clock_ns()
    created = state.create(setup.config, jax.random.fold_in(key, _INIT))
    if setup.config.mode == "infer" and checkpoint is not None:
        created = _checkpoints().load(checkpoint, created)
    current = jax.block_until_ready(spread.replicate(created))
    return current, (timing.clock_ns() - start) / 1e9


def _training_step(
    setup: phases.Setup, spread: parallel.Devices, arguments: tuple, key: jax.Array
) -> tuple[_Program, _Step]:
    """Returns the program of the training step, and the step with its key filled in."""
    step_key = spread.replicate(jax.random.fold_in(key, _STEP))
    function = spread.spread_train_step(functools.partial(step.train_step, setup.config))
    program = _compile("training", function, (*arguments, step_key), setup.progress)
    return program, lambda current, batch: program.call(current, batch, step_key)


def _trace(
    folder: Path,
    steps: Mapping[str, _Step | None],
    arguments: tuple,
    progress: progress_lib.Progress,
) -> None:
    """Traces one call of each step that there is, in order: one that consumes the state is last."""
    calls = {name: functools.partial(f, *arguments) for name, f in steps.items() if f is not None}
    progress.say(f"profile: {profiling.write_trace(folder, calls)}")


def _describe(device: jax.Device) -> result.Device:
    return result.Device(
        device_id=str(device.id), name=device.device_kind, platform=device.platform
    )


def _checkpoints() -> types.ModuleType:
    """Imports Orbax only where it is used: it takes a second."""
    from mlpf_jax.training import checkpoint

    return checkpoint


def _compile(name, function, arguments, progress) -> _Program:
    progress.say(f"compiling the {name} step")
    lowered, compiled, times = timing.compile_step(function, *arguments)
    progress.say(f"compiled in {times.lower_s + times.compile_s:.1f} s")
    return _Program(
        call=compiled,
        times=times,
        memory=memory.of_step(compiled),
        sha256=hashlib.sha256(lowered.as_text().encode()).hexdigest(),
    )


def _order(config: config_lib.RunConfig, key: jax.Array, number: int) -> np.ndarray:
    """Returns the events of one pass over the data: as they are stored, or shuffled."""
    num_events = config.data.num_train_events
    if not config.data.shuffle:
        return np.arange(num_events)
    return np.asarray(jax.random.permutation(jax.random.fold_in(key, number), num_events))


def params_sha256(current: state.TrainState) -> str:
    """Returns the SHA-256 of all weights, fixed ones included, with their names."""
    digest = hashlib.sha256()
    weights = (current.params, current.rotations)
    for path, leaf in jax.tree_util.tree_leaves_with_path(weights):
        digest.update(jax.tree_util.keystr(path).encode())
        digest.update(np.asarray(leaf.addressable_data(0)).tobytes())
    return digest.hexdigest()


def _now() -> str:
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
