"""Trains the MLPF network, runs inference, and writes a HEPscore report.

    python -m mlpf_jax.main
    python -m mlpf_jax.main --preset=hepscore --num_devices=4

Later flags take precedence, and all flags take precedence over --preset. Exit status: 0 success, 1
the run failed, or it printed its results but could not write something, 2 wrong usage, 130
interrupted, 143 terminated by another signal.
"""

# JAX is imported late, after the flags are checked and `runtime` has set up the process.

import dataclasses
import functools
import importlib
import importlib.util
import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from mlpf_jax import cli, errors, options, runtime, stopping
from mlpf_jax import config as config_lib
from mlpf_jax import progress as progress_lib
from mlpf_jax.hosts import group as group_lib
from mlpf_jax.hosts import launchers, starting
from mlpf_jax.measure import xla_flags

if TYPE_CHECKING:
    import jax

    from mlpf_jax.run import devices as devices_lib
    from mlpf_jax.run import leaving
    from mlpf_jax.telemetry import recorder as recorder_lib

_FLAGS = options.define()
_WITH_JAX = ("jax", "mlpf_jax.run.devices", "mlpf_jax.run.story")
_EXPECTED = (ValueError, OSError, RuntimeError, MemoryError)  # of a run; others are bugs


def main(argv: Sequence[str]) -> int:
    """Runs the benchmark, or with --fit finds the largest batch."""
    del argv  # no arguments are left
    with stopping.Stop() as stop:
        try:
            return _main(stop)
        except stopping.Stopped as stopped:
            stop.end()
            raise stopping.Stopped(stop.last_words(stopped.reason), stopped.status) from None


def _main(stop: stopping.Stop) -> int:
    try:
        request = options.read(_FLAGS)
        stop.limit(request.files.time_limit, request.files.hang_limit)
        place = launchers.place(request.hosts, os.environ)
        num_local = request.num_virtual_devices
        if place is not None:
            request, num_local = _for_process(request, place)
        _import(stop, "mlpf_jax.run.files")  # NumPy
        _check_files(request.check(), request.files)
        settings = runtime.prepare(num_local)
        _import(stop, *_WITH_JAX)
        if request.files.checkpoint_dir or request.files.checkpoint:
            _import(stop, "mlpf_jax.training.checkpoint")  # Orbax
    except ValueError as error:
        return cli.complain(error, cli.USAGE)
    group = None
    if place is not None:
        from mlpf_jax.run import together

        told, timeout_s = " ".join(request.arguments), request.hosts.host_timeout
        try:
            group = together.join(place, request.files, told, stop, timeout_s)
        except ValueError as error:
            return cli.complain(error, cli.FAILURE)
    return _carry_out(stop, request, settings, num_local, group)


def _import(stop: stopping.Stop, *names: str) -> None:
    """Imports modules with all that they need.

    A signal waits for that: raised in the start of an extension module, it can crash Python.
    """
    with stop.deferred():
        for name in names:
            importlib.import_module(name)
    stop.poll()


def _for_process(
    request: options.Request, place: launchers.Placement
) -> tuple[options.Request, int]:
    """Returns the request for one of several processes, and its number of virtual devices.

    Process 0 alone writes files.

    Raises:
        ValueError: for what several processes cannot do.
    """
    files = request.files
    refused = {
        "--fit": files.fit,
        "--profile": files.profile is not None,
        "--padding=tight": request.given.get("padding") == "tight",
    }
    for flag, is_given in refused.items():
        if is_given:
            raise ValueError(f"{flag} is for one process, and {place.launcher} has started more.")
    if place.process_id:
        infers = request.given.get("mode") == "infer"
        files = dataclasses.replace(
            files,
            checkpoint=files.checkpoint if infers else None,
            checkpoint_dir=None,
            resume="auto",
            allow_change=False,
            mllog=None,
            quiet=True,
        )
    num_local = max(1, request.num_virtual_devices // place.num_processes)
    return dataclasses.replace(request, files=files), num_local


def _carry_out(
    stop: stopping.Stop,
    request: options.Request,
    settings: runtime.RuntimeSettings,
    num_local: int,
    group: group_lib.Group | None,
) -> int:
    """Finds the devices, and runs the benchmark on them."""
    try:
        found = _start_jax(request, num_local, group)
        config = request.run_config(found.platform, len(found.devices))
        config, replacement = found.with_parallel(config)
        devices = found.pick(config)
    except ValueError as error:
        if group is None:
            return cli.complain(error, cli.USAGE)
        group.leave(errors.one_line(error))
        _course(request, stop, writes=not group.process_id).fail(error)
        return cli.complain(error, cli.FAILURE)
    start = {
        "platform_demanded": request.platform,
        "fallback": found.fallback,
        "departure": request.departure(found.platform, config),
    }
    progress = progress_lib.Progress(quiet=request.files.quiet, news=stop.enter)
    remarks = (*_pinned(settings), found.fallback, start["departure"], *found.warnings, replacement)
    for remark in filter(None, (*remarks, *_emulated(found, settings, start, len(devices)))):
        progress.tell(remark)
    if request.files.fit:
        return _fit(config, devices, progress)
    course = _course(request, stop, writes=group is None or not group.process_id)
    course.config = config
    stop.last_words = course.last_words
    try:
        problems = _watched(group, course, request, devices, settings, start, progress)
    except stopping.Stopped as stopped:
        stop.end()
        if group is not None:
            group.leave(f"stopped ({stopped.reason})")
        raise
    except Exception as error:
        problems = [_way_out(error, config)]
        if group is not None:
            group.leave(problems[0])
        course.fail(error)
        if not isinstance(error, _EXPECTED):
            raise
    for problem in problems:
        cli.complain(problem, cli.FAILURE)
    return cli.FAILURE if problems else 0


def _course(request: options.Request, stop: stopping.Stop, *, writes: bool) -> "leaving.Course":
    from mlpf_jax.run import leaving

    return leaving.Course(stop, request.files, " ".join(request.arguments), writes=writes)


def _watched(group: group_lib.Group | None, *arguments) -> list[str]:
    """Runs the benchmark; an error that another process has caused is `stopping.Stopped`."""
    try:
        problems = _run(group, *arguments)
        if group is not None:
            group.finish()
    except _EXPECTED as error:
        if group is not None:
            group.settle(errors.one_line(error))
        raise
    return problems


def _check_files(draft: config_lib.RunConfig, places: config_lib.FilesConfig) -> None:
    from mlpf_jax.run import files  # here, so that --help does not need NumPy

    if not (draft.measures_compile or files.has_cache(places)):
        raise ValueError("--nomeasure_compile needs a cache: give --compilation_cache=FOLDER.")
    for flag in ("checkpoint", "checkpoint_dir"):
        if getattr(places, flag) and importlib.util.find_spec("orbax") is None:
            raise ValueError(f"--{flag} needs orbax: pip install orbax-checkpoint")
    files.prepare(places, infers_only=draft.mode == "infer")


def _start_jax(
    request: options.Request, num_local: int, group: group_lib.Group | None
) -> "devices_lib.Found":
    """Imports JAX, sets it up and lets it look for devices."""
    import jax

    from mlpf_jax.run import devices

    runtime.set_up_jax(num_local)
    if request.files.compilation_cache is not None:
        jax.config.update("jax_compilation_cache_dir", str(request.files.compilation_cache))
    if group is None:
        return devices.find(request.platform)
    own: Sequence[int] = ()
    if request.platform != "cpu":
        own = starting.own_share(group.members, group.process_id)
    starting.start_jax(group, own)
    return devices.find(request.platform, everywhere=True)


def _pinned(settings: runtime.RuntimeSettings) -> tuple[str, ...]:
    names = ", ".join(settings.pinned_variables)
    return (f"{names}: ignored, because the measured work would be different",) if names else ()


def _emulated(
    found: "devices_lib.Found",
    settings: runtime.RuntimeSettings,
    start: Mapping[str, str | None],
    num_devices: int,
) -> tuple[str, ...]:
    if found.platform != "cpu" or num_devices == 1:
        return ()
    is_alone = start["platform_demanded"] == "auto" and found.fallback is None
    return (
        f"{'no accelerator found: ' if is_alone else ''}{num_devices} virtual devices share "
        f"{settings.num_cores} CPU cores; the result is marked as emulated",
    )


def _fit(
    config: config_lib.RunConfig,
    devices: "tuple[jax.Device, ...]",
    progress: progress_lib.Progress,
) -> int:
    from mlpf_jax.run import fit

    try:
        return 0 if fit.print_table(config, devices, progress) else cli.FAILURE
    except _EXPECTED as error:
        return cli.complain(_way_out(error, config), cli.FAILURE)


def _run(
    group: group_lib.Group | None,
    course: "leaving.Course",
    request: options.Request,
    devices: "tuple[jax.Device, ...]",
    settings: runtime.RuntimeSettings,
    start: Mapping[str, str | None],
    progress: progress_lib.Progress,
) -> list[str]:
    """Opens the events, runs the benchmark, writes the report; returns problems."""
    from mlpf_jax.measure import environment
    from mlpf_jax.run import ending, files, inputs, resuming, story, together

    places, config = course.files, course.config
    assert config is not None
    course.keeper = keeper = resuming.Keeper(places, course.stop, progress)
    opened = together.open_in_turn(group, lambda: inputs.open_inputs(config, places, progress))
    cache = {"compilation_cache": files.has_cache(places)}  # shortens `init_s`
    process = {"runtime": dataclasses.asdict(settings) | cache, "start": start}
    course.environment = known = environment.describe() | process
    with _open_recorder(devices, places, progress) as recorder:
        result, extras = story.run(
            config,
            devices,
            opened,
            known,
            progress,
            places.checkpoint,
            places.profile,
            recorder,
            course.stop,
            keeper,
            group,
        )
    result = dataclasses.replace(result, telemetry=recorder.record(), price=request.price)
    if group is not None:
        result = together.gather(group, result)
        if group.process_id:
            return []
    problems = course.deliver(result)
    if places.mllog is not None:
        extras = {"mllog": functools.partial(ending.write_mllog, result, places.mllog), **extras}
    return [*keeper.problems, *problems, *ending.finish(extras)]


def _open_recorder(
    devices: "tuple[jax.Device, ...]",
    places: config_lib.FilesConfig,
    progress: progress_lib.Progress,
) -> "recorder_lib.Recorder":
    from mlpf_jax.telemetry import opening

    here = [one for one in devices if one.process_index == one.client.process_index()]
    ordinals = [device.local_hardware_id for device in here]
    runtime = devices[0].client.platform_version
    recorder = opening.open_recorder(
        devices[0].platform, runtime, ordinals, lengthens=places.extra_samples
    )
    if recorder.no_devices is not None:
        progress.tell(f"no telemetry of the devices: {recorder.no_devices}")
    return recorder


def _way_out(error: BaseException, config: config_lib.RunConfig) -> str:
    text = errors.one_line(error)
    if errors.is_out_of_memory(error):
        return (
            f"out of memory: --batch_size={config.train.batch_size} does not fit. The same "
            f"command with --fit finds one that does. ({text[:160]})"
        )
    if errors.lacks_kernel(text):
        return f"XLA has no kernel for a product: set XLA_FLAGS={xla_flags.CUBLAS}. ({text[:160]})"
    return text


def run_app() -> None:
    """Runs the program."""
    try:
        cli.run(main, values=_FLAGS)
    except SystemExit as end:
        group_lib.exit_at_once(int(end.code or 0))
        raise


if __name__ == "__main__":
    run_app()
