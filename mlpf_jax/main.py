"""Trains the MLPF network, infers with it, and writes a HEPscore report.

    python -m mlpf_jax.main --num_devices=8
    python -m mlpf_jax.main --preset=hepscore --num_devices=4

Later flags win, and all flags win over --preset. Exit status: 0 success, 1 the run failed, or what
it measured is told but something could not be written, 2 wrong usage, 130 interrupted. JAX is
imported late, after the flags are checked and `runtime` has set up
the process.
"""

import dataclasses
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from mlpf_jax import cli, errors, options, runtime
from mlpf_jax import config as config_lib
from mlpf_jax import progress as progress_lib
from mlpf_jax.run import files

if TYPE_CHECKING:
    import jax

_FLAGS = options.define()


def main(argv: Sequence[str]) -> int:
    """Runs the benchmark, or only looks what fits."""
    del argv  # has nothing left
    cli.insist_on_interrupts()
    try:
        request = options.read(_FLAGS)
        draft = request.check()
        _check_files(draft, request.files)
        settings = runtime.prepare(draft.num_devices)
        config = request.run_config(_start_jax(draft.num_devices, request.files))
        from mlpf_jax.run import story

        devices = story.pick_devices(config)
    except ValueError as error:
        return cli.complain(error, cli.USAGE)
    progress = progress_lib.Progress(quiet=request.files.quiet)
    if settings.pinned_variables:
        names = ", ".join(settings.pinned_variables)
        progress.say(f"{names}: without effect, for the measured work would be another")
    if devices[0].platform == "cpu" and len(devices) > 1:
        progress.say(
            f"no accelerator found: {len(devices)} virtual devices share "
            f"{settings.num_cores} CPU cores; the result is marked as emulated"
        )
    try:
        if request.files.fit:
            from mlpf_jax.run import fit

            return 0 if fit.print_table(config, devices, progress) else cli.FAILURE
        problems = _run(config, request.files, devices, settings, progress)
    except (ValueError, OSError, RuntimeError, MemoryError) as error:
        problems = [_way_out(error, config)]
    for problem in problems:
        cli.complain(problem, cli.FAILURE)
    return cli.FAILURE if problems else 0


def _check_files(draft: config_lib.RunConfig, places: config_lib.FilesConfig) -> None:
    if not (draft.measures_compile or files.has_cache(places)):
        raise ValueError("--nomeasure_compile: name the cache too, --compilation_cache=FOLDER.")
    files.prepare(places, infers_only=draft.mode == "infer")


def _start_jax(num_devices: int, places: config_lib.FilesConfig) -> str:
    """Imports JAX and returns the platform that it found."""
    import jax

    runtime.set_up_jax(num_devices)
    if places.compilation_cache is not None:
        jax.config.update("jax_compilation_cache_dir", str(places.compilation_cache))
    try:
        return jax.local_devices()[0].platform
    except (AssertionError, RuntimeError) as error:  # the first if no platform is left over
        raise ValueError(runtime.no_device(errors.one_line(error) if str(error) else "")) from None


def _run(
    config: config_lib.RunConfig,
    places: config_lib.FilesConfig,
    devices: "tuple[jax.Device, ...]",
    settings: runtime.RuntimeSettings,
    progress: progress_lib.Progress,
) -> list[str]:
    """Opens the events, runs the benchmark, writes the report; returns what is not there."""
    from mlpf_jax.measure import environment
    from mlpf_jax.run import ending, inputs, story

    opened = inputs.open_inputs(config, places, progress)
    cached = {"compilation_cache": files.has_cache(places)}  # it makes `init_s` shorter
    surroundings = environment.describe() | {"runtime": dataclasses.asdict(settings) | cached}
    result, extras = story.run(
        config, devices, opened, surroundings, progress, places.checkpoint, places.profile
    )
    problems = ending.deliver(result, " ".join(sys.argv[1:]), places.results_dir)
    return problems + ending.finish(extras)


def _way_out(error: BaseException, config: config_lib.RunConfig) -> str:
    text = errors.one_line(error)
    if errors.is_out_of_memory(error):
        return (
            f"out of memory: --batch_size={config.train.batch_size} does not fit. The same command "
            f"with --fit tells which one does. ({text[:160]})"
        )
    return text


def run_app() -> None:
    """Runs the program."""
    cli.run(main, values=_FLAGS)


if __name__ == "__main__":
    run_app()
