"""What one run is: frozen values, checked when made, hashable so that jit can take them.

The defaults are those of `parameters/delphes-benchmark.yaml` in the reference
(jpata/particleflow at 0f1d1ead).
"""

import dataclasses
import math
from typing import Literal

Precision = Literal["float32", "tf32", "bf16"]
Parallel = Literal["pmap", "shard_map"]
Mode = Literal["train", "infer", "both"]
# Which places the network computes: all of an event's `num_elements`, as in 2022, or only the bins
# in which an element is.
Padding = Literal["full", "tight"]
# How messages are passed inside bins: by XLA's own programs, or by a fused kernel that one of
# Pallas' compilers makes: Triton (GPU), Mosaic (TPU), or none, on any device and slowly, for tests.
PairKernel = Literal["xla", "triton", "mosaic", "interpret"]


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


def _require_positive(settings: object, *names: str) -> None:
    for name in names:
        value = getattr(settings, name)
        _require(value >= 1, f"--{name}={value}: must be at least 1.")


@dataclasses.dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """Sizes and numerics of the network."""

    num_id_layers: int = 3  # graph layers that feed particle identification
    num_energy_layers: int = 3  # graph layers that feed energy and transverse momentum
    bin_size: int = 640  # elements per LSH bin
    embedding_dim: int = 128  # the space in which distance is taken
    embedding_hidden_dim: int = 128
    hidden_dim: int = 256  # features per element after a graph layer
    decoder_dim: int = 256  # width of a decoding head's first layer; each later one has half
    max_num_bins: int = 100  # the rotations are drawn for this many, whatever is used
    distance_scale: float = 0.1  # adjacency = exp(-distance_scale * distance)
    precision: Precision = "float32"
    pair_kernel: PairKernel = "xla"

    def __post_init__(self):
        _require_positive(
            self,
            "num_id_layers",
            "num_energy_layers",
            "bin_size",
            "embedding_dim",
            "embedding_hidden_dim",
            "hidden_dim",
        )
        _require(
            self.decoder_dim >= 8,
            f"--decoder_dim={self.decoder_dim}: must be at least 8, for it is halved three times.",
        )


@dataclasses.dataclass(frozen=True, kw_only=True)
class DataConfig:
    """Which events are fed, and in what shape."""

    num_train_events: int = 1100  # ttbar
    num_test_events: int = 100  # QCD: validation and inference
    num_elements: int = 6400  # per event, padding included; longer events are cut
    data_seed: int = 1  # names the simulated events
    shuffle: bool = False  # the reference keeps the order of the files, every epoch
    padding: Padding = "full"

    def __post_init__(self):
        _require_positive(self, "num_train_events", "num_test_events", "num_elements")
        _require(self.data_seed >= 0, f"--data_seed={self.data_seed}: must not be negative.")


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """The optimiser and how much it works."""

    batch_size: int = 16  # events per device and step
    num_epochs: int = 5
    steps_per_epoch: int = 0  # 0: a whole pass; else the next epoch goes on where this one ended
    num_steps: int = 0  # 0: as many as the epochs have; else stop after so many
    learning_rate: float = 1e-4
    decay_steps: int = 10_000  # the learning rate falls in steps of this many
    decay_rate: float = 0.99
    events_at_once: int = 0  # per device; 0: all of its batch. Less saves memory, same result
    stacks_chains: bool = False  # both chains of graph layers as one of twice the size, same result

    def __post_init__(self):
        _require_positive(self, "batch_size", "num_epochs", "decay_steps")
        for name in ("steps_per_epoch", "num_steps", "events_at_once"):
            value = getattr(self, name)
            _require(value >= 0, f"--{name}={value}: must not be negative.")
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
    mode: Mode = "both"
    num_devices: int = 1
    parallel: Parallel = "pmap"
    num_infer_samples: int = 10  # timed samples of the inference phase
    measures_compile: bool = True  # False: the steps may come from JAX's compilation cache
    seed: int = 1234  # of weights, rotations and order; never of the events

    def __post_init__(self):
        _require_positive(self, "num_devices", "num_infer_samples")
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
