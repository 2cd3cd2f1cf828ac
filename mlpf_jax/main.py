"""Trains the MLPF network, infers with it, and writes a HEPscore report.

    python -m mlpf_jax.main --num_devices=8
    python -m mlpf_jax.main --flagfile=flags/hepscore.cfg --num_devices=4

Put --flagfile first: later flags win. Exit status: 0 success, 1 the run failed, 2 wrong usage.
This is the only module that defines and reads the flags of a run. JAX is imported late, after
`runtime` has set up the process.
"""

import dataclasses
import os
import sys
from collections.abc import Sequence
from io import TextIOBase
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast, get_args

from absl import flags

from mlpf_jax import cli, runtime
from mlpf_jax import config as config_lib
from mlpf_jax import progress as progress_lib
from mlpf_jax.events import source

if TYPE_CHECKING:
    import jax

_MODEL, _DATA, _TRAIN, _RUN = (
    config_lib.ModelConfig(),
    config_lib.DataConfig(),
    config_lib.TrainConfig(),
    config_lib.RunConfig(),
)

# What is run if nothing is said. On accelerators: the talk's reproducibility table. On a CPU: the
# same network and events, few of them, for a CPU takes seconds per event.
_DEFAULTS: dict[str, dict[str, Any]] = {
    "accelerator": {
        "num_train_events": 1100,
        "num_test_events": 100,
        "global_batch_size": 16,
        "num_epochs": 5,
        "steps_per_epoch": 0,
        "num_infer_samples": 30,
        "events_at_once": 0,
        "stacks_chains": True,
    },
    "cpu": {
        "num_train_events": 80,
        "num_test_events": 8,
        "batch_size": 1,
        "num_epochs": 2,
        "steps_per_epoch": 5,
        "num_infer_samples": 8,
        "events_at_once": 1,
        "stacks_chains": False,
    },
}


def _default_of(name: str) -> str:
    accelerator, cpu = (_DEFAULTS[kind].get(name, "unset") for kind in ("accelerator", "cpu"))
    return f"Default: {accelerator} on accelerators, {cpu} on a CPU."


def _define_integer_by_platform(name: str, text: str) -> flags.FlagHolder[int | None]:
    return flags.DEFINE_integer(name, None, f"{text} {_default_of(name)}")


_NUM_DEVICES = flags.DEFINE_integer(
    "num_devices",
    _RUN.num_devices,
    "Local accelerators to use; where there is only a CPU, virtual devices.",
)
_MODE = flags.DEFINE_enum("mode", _RUN.mode, get_args(config_lib.Mode), "What to run.")
_PARALLEL = flags.DEFINE_enum(
    "parallel", _RUN.parallel, get_args(config_lib.Parallel), "How the devices are programmed."
)
_PRECISION = flags.DEFINE_enum(
    "precision",
    _MODEL.precision,
    get_args(config_lib.Precision),
    "Of matrix products. Others than float32 are scores of their own name.",
)
_PAIR_KERNEL = flags.DEFINE_enum(
    "pair_kernel",
    _MODEL.pair_kernel,
    ["xla", "pallas"],
    "What passes messages inside bins: XLA's programs, or a fused kernel (never run on a device).",
)
_SEED = flags.DEFINE_integer("seed", _RUN.seed, "Of weights, rotations and order.")
_FIT = flags.DEFINE_bool(
    "fit", False, "Train nothing: print the largest batch that fits the devices' memory."
)

_NUM_TRAIN_EVENTS = _define_integer_by_platform("num_train_events", "ttbar events to train on.")
_NUM_TEST_EVENTS = _define_integer_by_platform(
    "num_test_events", "QCD events to validate and infer on."
)
_NUM_ELEMENTS = flags.DEFINE_integer(
    "num_elements", _DATA.num_elements, "Elements per event, padding included."
)
_PADDING = flags.DEFINE_enum(
    "padding",
    _DATA.padding,
    get_args(config_lib.Padding),
    "Compute all --num_elements places of an event, or only the bins that hold one of its "
    "elements: the same result, a score of its own name.",
)
_DATA_SEED = flags.DEFINE_integer("data_seed", _DATA.data_seed, "Names the simulated events.")
_SHUFFLE = flags.DEFINE_bool(
    "shuffle", _DATA.shuffle, "Shuffle the training events in every epoch, by --seed."
)
_DATA_DIR = flags.DEFINE_string(
    "data_dir",
    None,
    "Folder of the events: its subfolders ttbar and qcd if they are there, else simulated events "
    "are kept in it. Default: $XDG_CACHE_HOME/mlpf_jax/events, or ~/.cache/mlpf_jax/events.",
)
_BANK = flags.DEFINE_string(
    "bank", None, "Truth bank to simulate from (.npz). Default: the one in the package."
)
_VERIFY_DATA = flags.DEFINE_bool(
    "verify_data", True, "Hash every file of events before it is used."
)

_BATCH_SIZE = _define_integer_by_platform("batch_size", "Events per device and step.")
_GLOBAL_BATCH_SIZE = _define_integer_by_platform(
    "global_batch_size", "Events per step on all devices together, instead of --batch_size."
)
_NUM_EPOCHS = _define_integer_by_platform("num_epochs", "Epochs to train.")
_STEPS_PER_EPOCH = _define_integer_by_platform(
    "steps_per_epoch", "Steps of an epoch, the next one goes on where it ended; 0: a whole pass."
)
_NUM_STEPS = flags.DEFINE_integer("num_steps", None, "Steps to train, whatever --num_epochs says.")
_NUM_INFER_SAMPLES = _define_integer_by_platform("num_infer_samples", "Samples of inference.")
_LEARNING_RATE = flags.DEFINE_float("learning_rate", _TRAIN.learning_rate, "Of Adam, at first.")
_EVENTS_AT_ONCE = _define_integer_by_platform(
    "events_at_once",
    "Events that a device works on at once, the rest of its batch one after another; 0: all. "
    "The result is the same, but for rounding.",
)
_STACKS_CHAINS = flags.DEFINE_bool(
    "stacks_chains",
    None,
    "Compute both chains of graph layers at once: fewer, larger operations. The result is the "
    f"same, but for rounding. {_default_of('stacks_chains')}",
)

_BIN_SIZE = flags.DEFINE_integer("bin_size", _MODEL.bin_size, "Elements per LSH bin.")
_NUM_ID_LAYERS = flags.DEFINE_integer(
    "num_id_layers", _MODEL.num_id_layers, "Graph layers for identification."
)
_NUM_ENERGY_LAYERS = flags.DEFINE_integer(
    "num_energy_layers", _MODEL.num_energy_layers, "Graph layers for the energy."
)
_HIDDEN_DIM = flags.DEFINE_integer("hidden_dim", _MODEL.hidden_dim, "Features inside the network.")
_EMBEDDING_DIM = flags.DEFINE_integer(
    "embedding_dim", _MODEL.embedding_dim, "Dimensions of the space of distances."
)
_EMBEDDING_HIDDEN_DIM = flags.DEFINE_integer(
    "embedding_hidden_dim", _MODEL.embedding_hidden_dim, "Width of the layer before it."
)
_DECODER_DIM = flags.DEFINE_integer(
    "decoder_dim", _MODEL.decoder_dim, "Width of the first layer of the decoding heads."
)

_CHECKPOINT = flags.DEFINE_string(
    "checkpoint",
    None,
    "Folder of weights: training writes its last ones there, --mode=infer alone reads them.",
)
_PROFILE = flags.DEFINE_string(
    "profile",
    None,
    "Folder for a profiler's trace of one more step of each kind, when all is measured: XProf "
    "opens its *.xplane.pb, Perfetto its *.trace.json.gz.",
)
_RESULTS_DIR = flags.DEFINE_string("results_dir", "results", "Folder of the report.")
_COMPILATION_CACHE = flags.DEFINE_string(
    "compilation_cache",
    None,
    "Folder, of this machine alone, that keeps the compiled programs that are not measured: later "
    "runs start seconds earlier. The measured steps are compiled anew in every run.",
)
_MEASURE_COMPILE = flags.DEFINE_bool(
    "measure_compile",
    True,
    "If false, the steps too are taken from --compilation_cache, and their compile time is not "
    "told. A step that was compiled in the same process can run some percent slower.",
)
_QUIET = flags.DEFINE_bool("quiet", False, "Print no progress, only the summary.")

_CACHE_SETTING = "jax_compilation_cache_dir"


def config_from_flags(platform: str) -> config_lib.RunConfig:
    """Gathers the flags into the one value that the rest of the program sees.

    Raises:
        ValueError: if they contradict each other or cannot be.
    """
    chosen = _choose(_DEFAULTS["cpu" if platform == "cpu" else "accelerator"])
    return config_lib.RunConfig(
        model=config_lib.ModelConfig(
            num_id_layers=_NUM_ID_LAYERS.value,
            num_energy_layers=_NUM_ENERGY_LAYERS.value,
            bin_size=_BIN_SIZE.value,
            embedding_dim=_EMBEDDING_DIM.value,
            embedding_hidden_dim=_EMBEDDING_HIDDEN_DIM.value,
            hidden_dim=_HIDDEN_DIM.value,
            decoder_dim=_DECODER_DIM.value,
            precision=cast(config_lib.Precision, _PRECISION.value),
            pair_kernel="xla"
            if _PAIR_KERNEL.value == "xla"
            else config_lib.fused_pair_kernel(platform),
        ),
        data=config_lib.DataConfig(
            num_train_events=chosen["num_train_events"],
            num_test_events=chosen["num_test_events"],
            num_elements=_NUM_ELEMENTS.value,
            data_seed=_DATA_SEED.value,
            shuffle=_SHUFFLE.value,
            padding=cast(config_lib.Padding, _PADDING.value),
        ),
        train=config_lib.TrainConfig(
            batch_size=_batch_size(chosen),
            num_epochs=chosen["num_epochs"],
            steps_per_epoch=chosen["steps_per_epoch"],
            num_steps=_NUM_STEPS.value or 0,
            learning_rate=_LEARNING_RATE.value,
            events_at_once=chosen["events_at_once"],
            stacks_chains=chosen["stacks_chains"],
        ),
        mode=cast(config_lib.Mode, _MODE.value),
        num_devices=_NUM_DEVICES.value,
        parallel=cast(config_lib.Parallel, _PARALLEL.value),
        num_infer_samples=chosen["num_infer_samples"],
        measures_compile=_MEASURE_COMPILE.value,
        seed=_SEED.value,
    )


def _choose(defaults: dict[str, Any]) -> dict[str, Any]:
    """Returns the flags whose default depends on the platform, filled up."""
    holders = (
        _NUM_TRAIN_EVENTS,
        _NUM_TEST_EVENTS,
        _NUM_EPOCHS,
        _STEPS_PER_EPOCH,
        _NUM_INFER_SAMPLES,
        _EVENTS_AT_ONCE,
        _STACKS_CHAINS,
        _BATCH_SIZE,
        _GLOBAL_BATCH_SIZE,
    )
    given = {holder.name: holder.value for holder in holders if holder.value is not None}
    if _NUM_STEPS.value is not None and _NUM_STEPS.value < 1:
        raise ValueError(f"--num_steps={_NUM_STEPS.value}: must be at least 1.")
    if "batch_size" in given and "global_batch_size" in given:
        raise ValueError("--batch_size and --global_batch_size exclude each other: give one.")
    chosen = defaults | given
    if _NUM_STEPS.value is not None or {"num_train_events", "num_epochs"} & given.keys():
        # Who names the work means whole passes, not the short epochs of the default run.
        chosen["steps_per_epoch"] = given.get("steps_per_epoch", 0)
    if "batch_size" in given:
        chosen.pop("global_batch_size", None)
    if _PADDING.value == "tight":  # it has no other way
        if _FIT.value:
            raise ValueError("--fit asks for --padding=full: tight padding needs no more memory.")
        chosen["events_at_once"] = given.get("events_at_once", 0)
    return chosen


def _batch_size(chosen: dict[str, Any]) -> int:
    total, num_devices = chosen.get("global_batch_size"), _NUM_DEVICES.value
    if total is None:
        return chosen["batch_size"]
    if num_devices >= 1 and (total < num_devices or total % num_devices):
        raise ValueError(
            f"--global_batch_size={total} cannot be shared evenly by "
            f"--num_devices={num_devices}: make it a multiple, or set --batch_size."
        )
    return total // max(num_devices, 1)


def main(argv: Sequence[str]) -> int:
    """Runs the benchmark, or only looks what fits."""
    del argv
    cli.insist_on_interrupts()
    progress = progress_lib.Progress(quiet=_QUIET.value)
    settings = runtime.prepare(_NUM_DEVICES.value)
    try:
        platform = _start_jax()
        config = config_from_flags(platform)
        from mlpf_jax.run import story

        devices = story.pick_devices(config)
        _check_folders()
    except ValueError as error:
        return cli.complain(error, cli.USAGE)
    if platform == "cpu" and len(devices) > 1:
        progress.say(
            f"no accelerator found: {len(devices)} virtual devices share "
            f"{settings.num_cores} CPU cores; the result is marked as emulated"
        )
    try:
        if _FIT.value:
            return _print_fit(config, devices, progress)
        return _run(config, devices, settings, progress)
    except (ValueError, OSError, RuntimeError) as error:
        return cli.complain(_way_out(error), cli.FAILURE)


def _start_jax() -> str:
    """Imports JAX and returns the platform that it found."""
    import jax

    if _NUM_DEVICES.value >= 1:
        runtime.set_up_jax(_NUM_DEVICES.value)
    if _COMPILATION_CACHE.value is not None:
        jax.config.update(_CACHE_SETTING, _COMPILATION_CACHE.value)
    try:
        return jax.local_devices()[0].platform
    except RuntimeError as error:
        raise ValueError(f"JAX finds no device: {cli.one_line(error)}") from None


def _check_folders() -> None:
    """Makes the folders to write to now: a run of hours must not fail at its last line."""
    if not (_MEASURE_COMPILE.value or _has_cache()):
        raise ValueError("--nomeasure_compile: name the cache too, --compilation_cache=FOLDER.")
    for holder in (_RESULTS_DIR, _COMPILATION_CACHE, _PROFILE):
        if holder.value is not None:
            _make_folder(holder.name, Path(holder.value))
    checkpoint = Path(_CHECKPOINT.value) if _CHECKPOINT.value else None
    if checkpoint and checkpoint.exists() != (_MODE.value == "infer"):
        raise ValueError(
            f"--checkpoint={checkpoint}: there is none to infer with."
            if _MODE.value == "infer"
            else f"--checkpoint={checkpoint}: exists already and is not overwritten."
        )
    if _BANK.value is not None and not Path(_BANK.value).is_file():
        raise ValueError(f"--bank={_BANK.value}: no such file.")


def _make_folder(flag: str, folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ValueError(f"--{flag}={folder}: {error.strerror}.") from None
    if not os.access(folder, os.W_OK):
        raise ValueError(f"--{flag}={folder}: cannot be written to.")


def _run(
    config: config_lib.RunConfig,
    devices: "tuple[jax.Device, ...]",
    settings: runtime.RuntimeSettings,
    progress: progress_lib.Progress,
) -> int:
    from mlpf_jax.measure import environment
    from mlpf_jax.report import hepscore, summary
    from mlpf_jax.run import inputs, story

    opened = inputs.open_inputs(
        config,
        Path(_DATA_DIR.value) if _DATA_DIR.value else source.default_data_dir(),
        Path(_BANK.value) if _BANK.value else None,
        progress,
        verify=_VERIFY_DATA.value,
    )
    cached = {"compilation_cache": _has_cache()}  # it makes `init_s` shorter, and nothing else
    surroundings = environment.describe() | {"runtime": dataclasses.asdict(settings) | cached}
    checkpoint = Path(_CHECKPOINT.value) if _CHECKPOINT.value else None
    profile = Path(_PROFILE.value) if _PROFILE.value else None
    result = story.run(config, devices, opened, surroundings, progress, checkpoint, profile)
    path = hepscore.write(hepscore.report(result, " ".join(sys.argv[1:])), Path(_RESULTS_DIR.value))
    summary.show(result, str(path), cast(TextIOBase, sys.stdout))
    return 0


def _has_cache() -> bool:
    """Tells whether JAX keeps what it compiles, by our flag or by a variable of its own."""
    import jax

    return bool(getattr(jax.config, _CACHE_SETTING))


def _print_fit(
    config: config_lib.RunConfig,
    devices: "tuple[jax.Device, ...]",
    progress: progress_lib.Progress,
) -> int:
    from mlpf_jax.measure import memory
    from mlpf_jax.run import fit

    limit = memory.limit_bytes(devices[0], len(devices))
    if limit is None:
        return cli.complain("--fit: this device does not tell how much memory it has.", cli.FAILURE)
    if _EVENTS_AT_ONCE.value is None:  # the question is what fits at once
        train = dataclasses.replace(config.train, events_at_once=0)
        config = dataclasses.replace(config, train=train)
    gib = 2**30
    print(f"{len(devices)} x {devices[0].device_kind}, {limit / gib:.2f} GiB for each")
    print("events per device   needs GiB   of it temporary   compile s   fits")

    def show(attempt: fit.Attempt) -> None:
        needed = attempt.needed
        total = f"{needed.total_bytes / gib:.2f}" if needed else "too much"
        temporary = f"{needed.temporary_bytes / gib:.2f}" if needed else ""
        print(
            f"{attempt.batch_size:17d}   {total:>9}   {temporary:>15}   "
            f"{attempt.compile_s:9.1f}   {'yes' if attempt.fits else 'no'}",
            flush=True,
        )

    progress.say("compiling the training step for growing batches; nothing is trained")
    largest = fit.largest_batch(config, devices, limit, show)
    if not largest:
        print("It does not fit: not even one event per device.")
        return cli.FAILURE
    print(f"It fits: up to {largest} events per device, {largest * len(devices)} per step.")
    return 0


def _way_out(error: BaseException) -> str:
    text = cli.one_line(error)
    if "RESOURCE_EXHAUSTED" in text or isinstance(error, MemoryError):
        return f"out of memory on the device: ask --fit which --batch_size fits. ({text[:160]})"
    return text


def run_app() -> None:
    """Runs the program."""
    cli.run(main)


if __name__ == "__main__":
    run_app()
