"""The configuration of a run: frozen dataclasses, validated and hashable (static in jit).

The defaults are those of `parameters/delphes-benchmark.yaml` in the reference (jpata/particleflow
at 0f1d1ead). A field made by `setting` is also a flag of the run, with its help and limits;
`options` reads it.
"""

import dataclasses
import math
import re
from pathlib import Path
from typing import Literal

from mlpf_jax import settings
from mlpf_jax.settings import setting

Precision = Literal["float32", "tf32", "bf16"]
Parallel = Literal["pmap", "shard_map"]
Mode = Literal["train", "infer", "both"]
Platform = Literal["auto", "cpu", "gpu", "tpu"]
Resume = Literal["auto", "never", "must"]
OnNan = Literal["stop", "record"]
Distributed = Literal["auto", "off", "manual"]
# The places that the network computes: all `num_elements` of an event, as in 2022, or only the bins
# with elements.
Padding = Literal["full", "tight"]
# The implementation of message passing inside bins: XLA, or a fused kernel compiled by Pallas with
# Mosaic for a TPU, or interpreted on any device, slowly, for tests.
PairKernel = Literal["xla", "mosaic", "interpret"]

NUM_VIRTUAL_DEVICES = 8  # of a CPU, if no number is asked for
_MOST_EPOCHS = 1_000_000  # their steps are listed one by one


def fused_pair_kernel(platform: str) -> PairKernel:
    """Returns the compiler of the fused kernel on a platform, by JAX's name of the platform.

    Raises:
        ValueError: if there is none.
    """
    _require(
        platform == "tpu",
        f"--pair_kernel=pallas: the fused kernel is for TPUs, not for {platform}. Choose xla.",
    )
    return "mosaic"


def _require(holds: bool, message: str) -> None:
    if not holds:
        raise ValueError(message)


@dataclasses.dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """Sizes and numerics of the network."""

    precision: Precision = setting(
        "float32",
        "Precision of matrix products; precisions other than float32 have separate scores.",
    )
    pair_kernel: PairKernel = setting(
        "xla",
        "Implementation of message passing in bins: XLA, or a fused kernel for TPUs (never run on "
        "one), which can also be interpreted, slowly, on any device.",
        choices=("xla", "pallas", "interpret"),
    )
    bin_size: int = setting(640, "Elements per LSH bin.", at_least=1)
    num_id_layers: int = setting(3, "Graph layers for particle identification.", at_least=1)
    num_energy_layers: int = setting(
        3, "Graph layers for energy and transverse momentum.", at_least=1
    )
    hidden_dim: int = setting(256, "Features per element after a graph layer.", at_least=1)
    embedding_dim: int = setting(
        128, "Dimensions of the embedding space for distances.", at_least=1
    )
    embedding_hidden_dim: int = setting(128, "Width of the layer before the embedding.", at_least=1)
    decoder_dim: int = setting(
        256,
        "Width of the first layer of a decoding head; each of the next three has half the width.",
    )
    max_num_bins: int = 100  # rotations are always drawn for this many bins
    distance_scale: float = 0.1  # adjacency = exp(-distance_scale * distance)

    def __post_init__(self):
        settings.check(self)
        _require(
            self.decoder_dim >= 8,
            f"--decoder_dim={self.decoder_dim}: must be at least 8, because it is halved "
            "three times.",
        )


@dataclasses.dataclass(frozen=True, kw_only=True)
class DataConfig:
    """The events and their shape."""

    num_train_events: int = setting(1100, "ttbar events to train on.", on_cpu=80, at_least=1)
    num_test_events: int = setting(
        100, "QCD events to validate and infer on.", on_cpu=8, at_least=1
    )
    num_elements: int = setting(
        6400, "Elements per event, including padding; longer events are truncated.", at_least=1
    )
    padding: Padding = setting(
        "full",
        "Compute all --num_elements places of an event (full), or only the bins with elements "
        "(tight). Same result, but separate scores.",
    )
    data_seed: int = setting(
        1, "Random seed of the simulated events.", at_least=0, at_most=2**63 - 1
    )
    # The reference keeps the order of the files in every epoch.
    shuffle: bool = setting(False, "Shuffle the training events in every epoch, by --seed.")

    def __post_init__(self):
        settings.check(self)


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """The optimiser and the amount of training."""

    batch_size: int = setting(
        16, "Events per device and step.", on_accelerator=None, on_cpu=1, at_least=1
    )
    num_epochs: int = setting(5, "Epochs to train.", on_cpu=2, at_least=1)
    steps_per_epoch: int = setting(
        0,
        "Steps per epoch; the next epoch continues where the previous one ended. 0: a whole pass.",
        on_cpu=5,
        at_least=0,
    )
    num_steps: int = setting(  # 0: given by the epochs
        0,
        "Total number of training steps; overrides --num_epochs.",
        on_accelerator=None,
        on_cpu=None,
        at_least=0,
    )
    learning_rate: float = setting(1e-4, "Initial learning rate of Adam.")
    events_at_once: int = setting(
        0,
        "Events that a device computes at once; larger batches are computed in several parts. 0: "
        "all. Smaller values save memory; the result is the same except for rounding.",
        on_cpu=1,
        at_least=0,
    )
    stacks_chains: bool = setting(
        False,
        "Compute both chains of graph layers at once, and the heads of equal depth: fewer, larger "
        "operations. The result is the same except for rounding.",
        on_accelerator=True,
    )
    decay_steps: int = 10_000  # the learning rate decreases after each so many steps
    decay_rate: float = 0.99

    def __post_init__(self):
        settings.check(self)
        _require(
            math.isfinite(self.learning_rate) and self.learning_rate > 0,
            f"--learning_rate={self.learning_rate}: must be a positive number.",
        )
        _require(
            not self.events_at_once or self.batch_size % self.events_at_once == 0,
            f"--events_at_once={self.events_at_once} does not divide "
            f"the {self.batch_size} events per device.",
        )


@dataclasses.dataclass(frozen=True, kw_only=True)
class RunConfig:
    """One benchmark run: everything that can change a result. It is part of the report."""

    model: ModelConfig = ModelConfig()
    data: DataConfig = DataConfig()
    train: TrainConfig = TrainConfig()
    mode: Mode = setting("both", "What to run.")
    num_devices: int = setting(
        1,
        "Number of devices, of all processes of the run together: accelerators, or virtual ones on "
        f"a CPU. all: every accelerator that is there, else {NUM_VIRTUAL_DEVICES} virtual devices.",
        on_accelerator="all",
        on_cpu="all",
        word="all",
        at_least=1,
    )
    parallel: Parallel = setting("pmap", "JAX function for running on several devices.")
    num_infer_samples: int = setting(
        10, "Number of timed samples of inference.", on_accelerator=30, on_cpu=8, at_least=1
    )
    measures_compile: bool = setting(
        True,
        "If false, the steps are also loaded from --compilation_cache, and their compile time is "
        "not reported. A step that was compiled in the same process can be some per cent slower.",
        flag="measure_compile",
    )
    seed: int = setting(
        1234,
        "Random seed for weights, LSH rotations and event order, but not for the events.",
        at_most=2**32 - 1,
    )

    def __post_init__(self):
        settings.check(self)
        _require(0 <= self.seed < 2**32, f"--seed={self.seed}: must be from 0 to 2^32 - 1.")
        num_bins, remainder = divmod(self.data.num_elements, self.model.bin_size)
        _require(
            remainder == 0,
            f"--num_elements={self.data.num_elements} is not a multiple of "
            f"--bin_size={self.model.bin_size}: every bin must be full.",
        )
        _require(
            2 <= num_bins <= self.model.max_num_bins,
            f"--num_elements={self.data.num_elements} makes {num_bins} bins of "
            f"--bin_size={self.model.bin_size}: the hash needs 2 to {self.model.max_num_bins}.",
        )
        _require(
            self.data.padding == "full" or self.train.events_at_once in (0, self.train.batch_size),
            f"--padding=tight and --events_at_once={self.train.events_at_once} exclude each "
            "other, because tight batches cannot be split into events. Choose --events_at_once=0.",
        )
        length, total = self._steps
        _require(
            total <= _MOST_EPOCHS * length,
            f"{-(-total // length)} epochs of {length} steps are more than {_MOST_EPOCHS}: give "
            "fewer --num_epochs or --num_steps, or more --steps_per_epoch.",
        )
        _require(
            self.mode == "infer" or total >= 2,
            "one training step gives no steady-state sample, because the first call is not a "
            "sample: give --num_steps=2 or more, or more --num_epochs or --num_train_events (now "
            f"{self.data.num_train_events}, with {self.global_batch_size} per step).",
        )

    @property
    def steps_by_epoch(self) -> tuple[int, ...]:
        """Training steps of each epoch; `num_steps`, if given, overrides `num_epochs`."""
        length, total = self._steps
        full, rest = divmod(total, length)
        return (length,) * full + ((rest,) if rest else ())

    @property
    def _steps(self) -> tuple[int, int]:
        """Training steps of a whole epoch, and of all."""
        whole_pass = -(-self.data.num_train_events // self.global_batch_size)
        length = self.train.steps_per_epoch or whole_pass
        return length, self.train.num_steps or self.train.num_epochs * length

    @property
    def global_batch_size(self) -> int:
        """Events per step on all devices together."""
        return self.num_devices * self.train.batch_size


@dataclasses.dataclass(frozen=True, kw_only=True)
class PriceConfig:
    """The price of the machine. It does not change a result."""

    price_per_hour: float | None = setting(
        None,
        "Price of one hour of the machine with all its devices: the report then has the cost per "
        "million events, and of the training.",
    )
    price_cents_per_hour: int | None = setting(
        None,
        "The price in hundredths of the currency, a whole number: hep-score passes no decimal "
        "point.",
        at_least=1,
    )
    currency: str | None = setting(None, "Currency of the price, such as EUR.")

    def __post_init__(self):
        settings.check(self)
        price, currency = self.price_per_hour, self.currency
        _require(
            price is None or self.price_cents_per_hour is None,
            "--price_per_hour and --price_cents_per_hour are the same: give one.",
        )
        _require(
            price is None or 1e-6 <= price <= 1e9,  # so that no cost is zero or infinite
            f"--price_per_hour={price}: must be a positive number, from 1e-6 to 1e9.",
        )
        _require(
            currency is None or (currency.isascii() and currency.isalpha() and len(currency) <= 8),
            f"--currency={currency}: must be a name of at most 8 letters, such as EUR.",
        )
        _require(
            currency is None or self.per_hour is not None,
            f"--currency={currency} needs --price_per_hour or --price_cents_per_hour.",
        )

    @property
    def per_hour(self) -> float | None:
        """The price of one hour in units of the currency; None if it was not given."""
        cents = self.price_cents_per_hour
        return self.price_per_hour if cents is None else cents / 100


@dataclasses.dataclass(frozen=True, kw_only=True)
class HostsConfig:
    """The processes of a run on several hosts. They do not change the measured work."""

    distributed: Distributed = setting(
        "auto",
        "Whether this is one of several processes of one run. auto: if a launcher has started "
        "several (Slurm, Open MPI, MPI with mpi4py, Kubernetes, TPU pods). manual: as the next "
        "three flags say. off: a run of its own.",
    )
    coordinator_address: str | None = setting(
        None,
        "HOST:PORT where process 0 listens. With --distributed=auto, instead of the launcher's.",
    )
    num_processes: int | None = setting(
        None, "Number of processes, for --distributed=manual.", at_least=1
    )
    process_id: int | None = setting(
        None, "Number of this process, from 0, for --distributed=manual.", at_least=0
    )
    host_timeout: float = setting(
        30.0,
        "Seconds within which all processes of a run end if one of them dies, hangs, cannot be "
        "reached or does not come.",
    )

    def __post_init__(self):
        settings.check(self)
        _require(
            5 <= self.host_timeout < math.inf,
            f"--host_timeout={self.host_timeout}: must be at least 5 seconds.",
        )
        by_hand: dict[str, int | str | None] = {
            "num_processes": self.num_processes,
            "process_id": self.process_id,
        }
        if self.distributed == "manual":
            by_hand["coordinator_address"] = self.coordinator_address
            missing = [f"--{name}" for name, value in by_hand.items() if value is None]
            _require(not missing, f"--distributed=manual needs {', '.join(missing)}.")
        else:
            given = [f"--{name}" for name, value in by_hand.items() if value is not None]
            _require(not given, f"{', '.join(given)}: needs --distributed=manual.")


@dataclasses.dataclass(frozen=True, kw_only=True)
class FilesConfig:
    """Files and output. These settings do not change a result."""

    data_dir: Path | None = setting(
        None,
        "Folder of the events. Its subfolders ttbar and qcd are used if they exist; otherwise "
        "simulated events are cached in it. Default: $XDG_CACHE_HOME/mlpf_jax/events, or "
        "~/.cache/mlpf_jax/events.",
    )
    bank: Path | None = setting(
        None, "Truth bank to simulate from (.npz). Default: the one in the package."
    )
    verify_data: bool = setting(True, "Verify the hash of every file of events before use.")
    results_dir: Path = setting(Path("results"), "Folder for the report.")
    checkpoint: Path | None = setting(
        None,
        "Folder of weights: training writes its final weights there, --mode=infer reads them.",
    )
    checkpoint_dir: Path | None = setting(
        None,
        "Folder of checkpoints. If training is interrupted, the same command goes on from there, "
        "to the same bits.",
    )
    checkpoint_every: str = setting(
        "5min", "Time between checkpoints: minutes, as 5min, or steps, as 100."
    )
    resume: Resume = setting(
        "auto",
        "Whether to go on from --checkpoint_dir. auto: if it has a checkpoint. must: fail without "
        "one. never: fail with one.",
    )
    allow_change: bool = setting(
        False,
        "With --resume=must: go on under other conditions (machine, devices, versions, program), "
        "without a score.",
    )
    time_limit: float | None = setting(
        None, "Minutes after which the run saves its state and ends, with status 1."
    )
    hang_limit: float = setting(
        30.0,
        "Minutes without progress after which the run is taken for hung, writes the stacks of its "
        "threads and ends. 0: never.",
    )
    on_nan: OnNan = setting(
        "stop",
        "What to do about a loss that is not finite: end the run, or go on and record the steps "
        "in the report, which then has no score.",
    )
    profile: Path | None = setting(
        None,
        "Folder for a profiler trace of one extra step of each kind after the measurement: open "
        "*.xplane.pb with XProf, *.trace.json.gz with Perfetto.",
    )
    mllog: Path | None = setting(
        None, "File for the training as a log of MLPerf, lines that begin with :::MLLOG."
    )
    compilation_cache: Path | None = setting(
        None,
        "Folder, for this machine only, that caches compiled programs that are not measured: "
        "later runs start seconds earlier. The measured steps are compiled again in every run, "
        "except with --nomeasure_compile.",
    )
    extra_samples: bool = setting(
        True,
        "After the samples of a phase, take more of the same for its energy alone, until they last "
        "long enough for the devices' counter of energy: at most 10 s a phase.",
    )
    fit: bool = setting(
        False, "Do not train: print the largest batch that fits the devices' memory."
    )
    quiet: bool = setting(False, "Print no progress, only the summary.")

    def __post_init__(self):
        settings.check(self)
        checkpoint_interval(self.checkpoint_every)
        _require(
            self.time_limit is None or 0 < self.time_limit < math.inf,
            f"--time_limit={self.time_limit}: must be a positive number of minutes.",
        )
        _require(
            0 <= self.hang_limit < math.inf,
            f"--hang_limit={self.hang_limit}: must be a number of minutes, or 0.",
        )
        _require(
            self.checkpoint_dir is not None or (self.resume != "must" and not self.allow_change),
            "--resume=must and --allow_change need --checkpoint_dir=FOLDER.",
        )
        _require(
            not self.allow_change or self.resume == "must",
            "--allow_change needs --resume=must.",
        )


def checkpoint_interval(text: str) -> tuple[int | None, float]:
    """Returns the steps between checkpoints, or None and the seconds.

    Raises:
        ValueError: if it is neither a number of steps nor of minutes.
    """
    found = re.fullmatch(r"([0-9]{1,9})|([0-9]{1,6}(?:\.[0-9]{1,6})?) ?m(?:in)?", text)
    if not found or float(found[1] or found[2]) == 0:
        raise ValueError(
            f"--checkpoint_every={text}: give minutes, as 5min, or a number of steps, as 100."
        )
    return (int(found[1]), math.inf) if found[1] else (None, 60 * float(found[2]))
