"""The result of a run as plain values, without arrays, devices or files."""

import dataclasses
import itertools
import math
from collections.abc import Mapping
from typing import Any, Literal

from mlpf_jax import config as config_lib
from mlpf_jax.measure import (
    load,
    machine,
    peaks,
    records,
    surroundings,
    trust,
    variables,
    xla_flags,
)
from mlpf_jax.report import processes
from mlpf_jax.stats import summaries
from mlpf_jax.telemetry import doubts as telemetry_doubts
from mlpf_jax.telemetry import energy as energy_lib
from mlpf_jax.telemetry import record, source


@dataclasses.dataclass(frozen=True, kw_only=True)
class Quality:
    """The quality of the network on some events: loss per output, and class accuracy."""

    losses: Mapping[str, float]  # `total` and each output's, before coefficients
    accuracy: float  # as published: padding counted as correct
    real_accuracy: float  # on real elements only
    weighted_accuracy: float  # mean recall of the classes


@dataclasses.dataclass(frozen=True, kw_only=True)
class EpochResult:
    """One epoch; its seconds include the validation after it."""

    seconds: float
    validation_s: float
    num_steps: int
    num_events: int
    train: Quality
    validation: Quality
    has_first_call: bool = False  # of the training step, in this process

    @property
    def events_per_s(self) -> float:
        """Training events over the time of the epoch, as in the benchmark of 2022."""
        return self.num_events / self.seconds


@dataclasses.dataclass(frozen=True, kw_only=True)
class Capacity:
    """A length that a step was compiled for with tight padding, and how often it ran."""

    num_bins: int  # on each device
    num_steps: int  # number of steps in samples


@dataclasses.dataclass(frozen=True, kw_only=True)
class PhaseResult:
    """The timing of one step, training or inference, with one program per capacity."""

    compile_times: records.CompileTimes
    # The first step, or the first of each capacity, with one-time work of allocator and driver.
    first_call_s: float
    samples: tuple[records.Sample, ...]  # all samples after the first call, in order
    memory: records.StepMemory
    program_sha256: str  # digest of the step's StableHLO for this number of devices
    flops_per_event: float  # computed FLOPs, including padding
    capacities: tuple[Capacity, ...] = ()  # empty with full padding
    extra_samples: tuple[records.Sample, ...] = ()  # for the energy, not for the score

    @property
    def unsteady(self) -> tuple[bool, ...]:
        """Whether a sample precedes the steady state of its segment, by `stats.steady_start`."""
        found: list[bool] = []
        for _, group in itertools.groupby(self.samples, key=lambda sample: sample.segment):
            times = [sample.seconds / sample.num_steps for sample in group]
            start = summaries.steady_start(times)
            found += [number < start for number in range(len(times))]
        return tuple(found)

    @property
    def num_unsteady(self) -> int:
        """Samples that are not part of the score."""
        return sum(self.unsteady)

    @property
    def steady_samples(self) -> tuple[records.Sample, ...]:
        """The samples that the score is made of."""
        return tuple(
            s for s, is_early in zip(self.samples, self.unsteady, strict=True) if not is_early
        )

    @property
    def score(self) -> summaries.Summary:
        """Real events per second in the steady state; the median of it is the score."""
        return summaries.summarize([s.events_per_s for s in self.steady_samples])

    @property
    def drift(self) -> summaries.Drift:
        """The trend of the rates in the steady state."""
        return summaries.drift([s.events_per_s for s in self.steady_samples])

    @property
    def load(self) -> load.Load | None:
        """The mean load by others during the steady samples; None if unknown."""
        steady = self.steady_samples
        return trust.mean_load([s.load for s in steady], [s.seconds for s in steady])

    @property
    def windows(self) -> record.Windows:
        """The timed windows of this recording of telemetry."""
        return [(s.start_s, s.start_s + s.seconds) for s in self.samples if s.start_s is not None]

    @property
    def step_s(self) -> summaries.Summary:
        """Seconds per step in the steady state."""
        return summaries.summarize([s.seconds / s.num_steps for s in self.steady_samples])

    @property
    def flops_per_s(self) -> float:
        """Floating-point operations per second at the score's rate."""
        return self.score.median * self.flops_per_event

    @property
    def elements_per_s(self) -> float:
        """Real elements per second, the median over the steady samples."""
        return summaries.summarize([s.elements_per_s for s in self.steady_samples]).median

    def num_places(self, config: config_lib.RunConfig) -> int:
        """Returns the number of places in all samples: of real events or, if tight, computed."""
        if not self.capacities:
            return sum(s.num_events for s in self.samples) * config.data.num_elements
        bins = sum(capacity.num_bins * capacity.num_steps for capacity in self.capacities)
        return bins * config.model.bin_size * config.num_devices

    def padding_fraction(self, config: config_lib.RunConfig) -> float:
        """Returns the share of these places without a real element."""
        return 1 - sum(s.num_elements for s in self.samples) / self.num_places(config)


@dataclasses.dataclass(frozen=True, kw_only=True)
class DatasetResult:
    """The events that were used."""

    provenance: Mapping[str, Any]
    num_events: int
    num_elements: int  # before truncation
    num_cut_events: int  # longer than the padded length
    num_cut_elements: int
    sha256: str  # digest of the content of the used events


@dataclasses.dataclass(frozen=True, kw_only=True)
class Device:
    """One device of the run."""

    device_id: str
    name: str
    platform: str


@dataclasses.dataclass(frozen=True, kw_only=True)
class RunResult:
    """The run of one process. Parts that a mode does not run are None or empty."""

    config: config_lib.RunConfig
    devices: tuple[Device, ...]
    is_emulated: bool  # several virtual devices on one CPU
    environment: Mapping[str, Any]
    surroundings: surroundings.Surroundings
    started_at: str  # ISO 8601, UTC
    finished_at: str
    init_s: float  # time to draw the weights, including compilation, or to read them
    train_data: DatasetResult | None
    test_data: DatasetResult
    training: PhaseResult | None
    inference: PhaseResult | None
    inference_quality: Quality | None
    inference_weights: Literal["trained", "checkpoint", "initial"]
    epochs: tuple[EpochResult, ...]
    input_times: records.InputTimes | None
    train_seconds: float
    peak_device_bytes: int | None
    peak_process_bytes: int | None
    machine: machine.MachineChange  # before and after both phases
    graph_sha256: str
    loss_sha256: str
    params_sha256: str
    batch_sha256: str | None = None  # of the training batches
    segments: tuple[records.Segment, ...] = ()  # the processes of this run, the last one included
    no_score: str | None = None  # why the run has no score
    not_finite_steps: tuple[int, ...] = ()  # training steps with a loss that is not finite
    extra_arguments: str = ""  # the command line as given
    telemetry: record.Telemetry | None = None  # of the process that made the result
    # What each process of a run on several hosts tells of itself, see `processes.describe`.
    processes: tuple[Mapping[str, Any], ...] = ()
    price: config_lib.PriceConfig = dataclasses.field(default_factory=config_lib.PriceConfig)

    @property
    def phases(self) -> dict[str, PhaseResult]:
        """The phases that were run, by name."""
        pairs = {"training": self.training, "inference": self.inference}
        return {name: phase for name, phase in pairs.items() if phase is not None}

    @property
    def doubts(self) -> tuple[str, ...]:
        """Reasons to distrust the scores; empty if none was found."""
        on_cpu = self.devices[0].platform == "cpu"
        start = self.environment.get("start", {})
        found = [start[name] for name in ("fallback", "departure") if start.get(name)]
        given = self.surroundings.slot
        num_cores = len(given.allowed_cores or ()) or self.environment["num_cpu_cores"]
        found += trust.in_machine(self.machine, on_cpu=on_cpu)
        found += trust.in_slot(given, on_cpu=on_cpu)
        runtime = self.environment["runtime"]
        found += variables.doubts(runtime.get("variables", {}))
        found += xla_flags.doubts(runtime.get("xla_flags", ""))
        if len(self.segments) > 1:
            found.append(f"interrupted and resumed: measured in {len(self.segments)} segments")
        for name, phase in self.phases.items():
            reasons = trust.in_samples(phase.score, phase.drift)
            peak = self.share_of_peak(phase.flops_per_s)
            reasons += trust.in_rate(peak["share"] if peak else None)
            reasons += trust.in_unknown_load([s.load for s in phase.samples])
            reasons += trust.in_load(phase.load, num_cores, on_cpu=on_cpu)
            if self.telemetry is not None:
                reasons += telemetry_doubts.in_windows(self.telemetry, phase.windows, on_cpu=on_cpu)
            if isinstance(used := self.energy(phase), energy_lib.Energy) and used.doubt:
                reasons.append(used.doubt)
            found += [f"{name}: {reason}" for reason in reasons]
        found += processes.doubts(self.processes)
        return tuple(found)

    def energy(
        self, phase: PhaseResult, *, of_host: bool = False
    ) -> energy_lib.Energy | source.Absent:
        """Returns the energy of the devices, or of the host's CPU, in the steady samples of a phase
        and in those that were taken to make its windows long enough.
        """
        recorded = self.telemetry
        if recorded is None:
            return source.Absent("no telemetry was recorded")
        if self.processes:  # the events are those of all, and the joules would be those of one
            return source.Absent(
                f"only process 0 read its counters, and {len(self.processes)} processes computed"
            )
        windows = [
            energy_lib.Window(
                start_s=sample.start_s,
                seconds=sample.seconds,
                num_events=sample.num_events,
                joules=_joules(sample, of_host=of_host),
            )
            for sample in (*phase.steady_samples, *phase.extra_samples)
        ]
        meter = recorded.host_meter if of_host else recorded.device_meter
        return energy_lib.measured(meter, windows, recorded.time_s)

    @property
    def goodput(self) -> float | None:
        """The share of the time of all segments that was not lost, nor spent on recovery and
        checkpoints; None if the segments are unknown.
        """
        wasted = [one.lost_s + one.checkpoint_s for one in self.segments]
        wasted += [one.recovery_s or one.total_s for one in self.segments[1:]]
        total = sum(one.total_s for one in self.segments)
        return max(0.0, 1 - sum(wasted) / total) if total else None

    @property
    def timed_epochs(self) -> tuple[EpochResult, ...]:
        """All epochs without a first call, as in the talk's means; all if there are no others."""
        later = self.epochs[1:]
        return tuple(epoch for epoch in later if not epoch.has_first_call) or later or self.epochs

    @property
    def mean_throughput(self) -> float:
        """Events per second, averaged over `timed_epochs`."""
        return math.fsum(e.events_per_s for e in self.timed_epochs) / len(self.timed_epochs)

    @property
    def mean_epoch_time(self) -> float:
        """Seconds per epoch, averaged over `timed_epochs`."""
        return math.fsum(e.seconds for e in self.timed_epochs) / len(self.timed_epochs)

    def score_name(self, phase: str) -> str:
        """Returns the name of the score of a phase."""
        return score_name(phase, self.config.model.precision, self.config.data.padding)

    def share_of_peak(self, flops_per_s: float) -> dict[str, Any] | None:
        """Returns the share of the devices' peak rate; None if the peak is unknown."""
        peak = peaks.find(self.devices[0].name)
        if isinstance(peak, peaks.Unknown) or self.peak_unknown:
            return None
        total = getattr(peak, self.config.model.precision) * 1e12 * len(self.devices)
        return {"share": flops_per_s / total, "peak_flops_per_s": total, "source": peak.source}

    @property
    def peak_unknown(self) -> str | None:
        """Why the devices' peak rate is unknown; None if it is known."""
        peak, precision = peaks.find(self.devices[0].name), self.config.model.precision
        if isinstance(peak, peaks.Unknown):
            return peak.reason
        for sensors in self.telemetry.sensors if self.telemetry else ():
            share = str(sensors.description.get("share"))
            if share.startswith("partition"):  # which bears the name of the whole card
                return f"{sensors.name} is a {share}, and data sheets give no peak rates for parts"
        is_known = getattr(peak, precision) is not None
        return None if is_known else f"{self.devices[0].name}: its data sheet has no {precision}"


def _joules(sample: records.Sample, *, of_host: bool) -> float | None:
    if sample.energy is None:
        return None
    return sample.energy.host_j if of_host else sample.energy.device_j


def score_name(phase: str, precision: str, padding: str) -> str:
    """Returns the score's name, with a suffix unless it is for float32 and full padding."""
    variants = [precision] * (precision != "float32") + [padding] * (padding != "full")
    return "-".join([phase, *variants])
