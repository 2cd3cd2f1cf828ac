"""What one run is: frozen values, checked when made, hashable so that jit can take them.

The defaults are those of `parameters/delphes-benchmark.yaml` in the reference
(jpata/particleflow at 0f1d1ead). A field made by `setting` is also a flag of the run: what is said
of the flag stands there, and `options` reads it.
"""

import dataclasses
import math
from pathlib import Path
from typing import Literal

from mlpf_jax import settings
from mlpf_jax.settings import setting

Precision = Literal["float32", "tf32", "bf16"]
Parallel = Literal["pmap", "shard_map"]
Mode = Literal["train", "infer", "both"]
Platform = Literal["auto", "cpu", "gpu", "tpu"]
# Which places the network computes: all of an event's `num_elements`, as in 2022, or only the bins
# in which an element is.
Padding = Literal["full", "tight"]
# How messages are passed inside bins: by XLA's own programs, or by a fused kernel that one of
# Pallas' compilers makes: Triton (GPU), Mosaic (TPU), or none, on any device and slowly, for tests.
PairKernel = Literal["xla", "triton", "mosaic", "interpret"]

NUM_VIRTUAL_DEVICES = 8  # of a CPU, if no number is asked for


def fused_pair_kernel(platform: str) -> PairKernel:
    """Returns what compiles the fused kernel on a platform, as JAX names it.

    Raises:
        ValueError: if nothing does.
    """
    compilers: dict[str, PairKernel] = {"gpu": "triton", "tpu": "mosaic"}
    _require(
        platform in compilers,
        f"--pair_kernel=pallas: there is no compiler for it on {platform}. Choose xla.",
    )
    return compilers[platform]


def _require(holds: bool, message: str) -> None:
    if not holds:
        raise ValueError(message)


@dataclasses.dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """Sizes and numerics of the network."""

    precision: Precision = setting(
        "float32", "Precision of matrix products; others than float32 have scores of their own."
    )
    pair_kernel: PairKernel = setting(
        "xla",
        "How messages are passed in bins: by XLA, or by a fused kernel (never run on a device).",
        choices=("xla", "pallas"),
    )
    bin_size: int = setting(640, "Elements per LSH bin.", at_least=1)
    num_id_layers: int = setting(3, "Graph layers for particle identification.", at_least=1)
    num_energy_layers: int = setting(
        3, "Graph layers for energy and transverse momentum.", at_least=1
    )
    hidden_dim: int = setting(256, "Features per element after a graph layer.", at_least=1)
    embedding_dim: int = setting(
        128, "Dimensions of the space in which distance is taken.", at_least=1
    )
    embedding_hidden_dim: int = setting(128, "Width of the layer before the embedding.", at_least=1)
    decoder_dim: int = setting(
        256, "Width of the first layer of a decoding head; each of the next three has half."
    )
    max_num_bins: int = 100  # the rotations are drawn for this many, whatever is used
    distance_scale: float = 0.1  # adjacency = exp(-distance_scale * distance)

    def __post_init__(self):
        settings.check(self)
        _require(
            self.decoder_dim >= 8,
            f"--decoder_dim={self.decoder_dim}: must be at least 8, for it is halved three times.",
        )


@dataclasses.dataclass(frozen=True, kw_only=True)
class DataConfig:
    """Which events are used, and in what shape."""

    num_train_events: int = setting(1100, "ttbar events to train on.", on_cpu=80, at_least=1)
    num_test_events: int = setting(
        100, "QCD events to validate and infer on.", on_cpu=8, at_least=1
    )
    num_elements: int = setting(
        6400, "Elements per event, padding included; longer events are cut.", at_least=1
    )
    padding: Padding = setting(
        "full",
        "Compute all --num_elements places of an event, or only the bins that hold elements: the "
        "same result, with scores of their own.",
    )
    data_seed: int = setting(1, "Random seed of the simulated events.", at_least=0)
    # The reference keeps the order of the files, every epoch.
    shuffle: bool = setting(False, "Shuffle the training events in every epoch, by --seed.")

    def __post_init__(self):
        settings.check(self)


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """The optimiser and how much it works."""

    batch_size: int = setting(
        16, "Events per device and step.", on_accelerator=None, on_cpu=1, at_least=1
    )
    num_epochs: int = setting(5, "Epochs to train.", on_cpu=2, at_least=1)
    steps_per_epoch: int = setting(
        0,
        "Steps per epoch; the next epoch continues where this one ended. 0: a whole pass.",
        on_cpu=5,
        at_least=0,
    )
    num_steps: int = setting(  # 0: as many as the epochs have
        0,
        "Steps to train in all, whatever --num_epochs says.",
        on_accelerator=None,
        on_cpu=None,
        at_least=0,
    )
    learning_rate: float = setting(1e-4, "Initial learning rate of Adam.")
    events_at_once: int = setting(
        0,
        "Events that a device computes at once, the rest of its batch one after another; 0: all. "
        "Less saves memory; the result is the same, but for rounding.",
        on_cpu=1,
        at_least=0,
    )
    stacks_chains: bool = setting(
        False,
        "Compute both chains of graph layers at once: fewer, larger operations. The result is the "
        "same, but for rounding.",
        on_accelerator=True,
    )
    decay_steps: int = 10_000  # the learning rate falls in steps of this many
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
    """One benchmark run. Everything that can change a result is in here, and so in the report."""

    model: ModelConfig = ModelConfig()
    data: DataConfig = DataConfig()
    train: TrainConfig = TrainConfig()
    mode: Mode = setting("both", "What to run.")
    num_devices: int = setting(
        1,
        "Local accelerators to use; where there is only a CPU, virtual devices. all: every "
        f"accelerator that is there, else {NUM_VIRTUAL_DEVICES} virtual devices.",
        on_accelerator="all",
        on_cpu="all",
        word="all",
        at_least=1,
    )
    parallel: Parallel = setting("pmap", "How the devices are programmed.")
    num_infer_samples: int = setting(
        10, "Timed samples of inference.", on_accelerator=30, on_cpu=8, at_least=1
    )
    measures_compile: bool = setting(
        True,
        "If false, the steps too are taken from --compilation_cache, and their compile time is not "
        "reported. A step that was compiled in the same process can run some percent slower.",
        flag="measure_compile",
    )
    seed: int = setting(
        1234, "Random seed of weights, LSH rotations and order; never of the events."
    )

    def __post_init__(self):
        settings.check(self)
        _require(0 <= self.seed < 2**32, f"--seed={self.seed}: must be from 0 to 2^32 - 1.")
        num_bins, remainder = divmod(self.data.num_elements, self.model.bin_size)
        _require(
            remainder == 0,
            f"--num_elements={self.data.num_elements} is no multiple of "
            f"--bin_size={self.model.bin_size}: every bin must be full.",
        )
        _require(
            2 <= num_bins <= self.model.max_num_bins,
            f"--num_elements={self.data.num_elements} makes {num_bins} bins of "
            f"--bin_size={self.model.bin_size}: the hash needs 2 to {self.model.max_num_bins}.",
        )
        _require(
            self.data.padding == "full" or self.train.events_at_once in (0, self.train.batch_size),
            f"--padding=tight and --events_at_once={self.train.events_at_once} exclude each other: "
            "its batches are not cut into events. Choose --events_at_once=0.",
        )
        _require(
            self.mode == "infer" or sum(self.steps_by_epoch) >= 2,
            "one training step gives no steady-state sample: the first call is none. "
            "Ask for more events, epochs or steps.",
        )

    @property
    def steps_by_epoch(self) -> tuple[int, ...]:
        """Training steps of each epoch; `num_steps`, if given, rules over `num_epochs`."""
        whole_pass = -(-self.data.num_train_events // self.global_batch_size)
        length = self.train.steps_per_epoch or whole_pass
        total = self.train.num_steps or self.train.num_epochs * length
        full, rest = divmod(total, length)
        return (length,) * full + ((rest,) if rest else ())

    @property
    def global_batch_size(self) -> int:
        """Events per step on all devices together."""
        return self.num_devices * self.train.batch_size


@dataclasses.dataclass(frozen=True, kw_only=True)
class FilesConfig:
    """Files and output. Nothing of it changes a result."""

    data_dir: Path | None = setting(
        None,
        "Folder of the events: its subfolders ttbar and qcd if they are there, else simulated "
        "events are kept in it. Default: $XDG_CACHE_HOME/mlpf_jax/events, or "
        "~/.cache/mlpf_jax/events.",
    )
    bank: Path | None = setting(
        None, "Truth bank to simulate from (.npz). Default: the one in the package."
    )
    verify_data: bool = setting(True, "Hash every file of events before it is used.")
    results_dir: Path = setting(Path("results"), "Folder of the report.")
    checkpoint: Path | None = setting(
        None,
        "Folder of weights: training writes its last ones there, --mode=infer alone reads them.",
    )
    profile: Path | None = setting(
        None,
        "Folder for a profiler's trace of one more step of each kind, when all is measured: XProf "
        "opens its *.xplane.pb, Perfetto its *.trace.json.gz.",
    )
    compilation_cache: Path | None = setting(
        None,
        "Folder, of this machine alone, that keeps the compiled programs that are not measured: "
        "later runs start seconds earlier. The measured steps are compiled anew in every run.",
    )
    fit: bool = setting(
        False, "Train nothing: print the largest batch that fits the devices' memory."
    )
    quiet: bool = setting(False, "Print no progress, only the summary.")
