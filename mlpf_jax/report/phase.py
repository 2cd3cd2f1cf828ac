"""The fields of a phase in a report, training or inference, declared once."""

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from mlpf_jax.measure import load as load_lib
from mlpf_jax.measure import records
from mlpf_jax.report import consumption
from mlpf_jax.report.fields import (
    ANY,
    BOOLEAN,
    COUNT,
    FRACTION,
    LEFT_OUT,
    NONNEGATIVE,
    NUMBER,
    POSITIVE,
    SECONDS,
    SHA256,
    SIZE,
    TEXT,
    Field,
    Record,
    keyed,
    listed,
    maybe,
    one_of,
    optional,
    shaped,
)
from mlpf_jax.stats import summaries

SUMMARY = keyed(
    NUMBER, "avg", "median", "min", "max", "count", "spread", "interval_low", "interval_high"
)

_SERIES = shaped(
    time_s=listed(NUMBER),
    sources=keyed(keyed(shaped(mean=NUMBER, min=NUMBER, max=NUMBER, values=listed(maybe(NUMBER))))),
)
_ENERGY = shaped(
    joules=POSITIVE,
    window_s=POSITIVE,
    mean_power_w=POSITIVE,
    **{
        f"{net}events_per_j{end}": NONNEGATIVE if not net + end else maybe(NONNEGATIVE)
        for net in ("", "net_")
        for end in ("", "_low", "_high")
    },
    idle_w=maybe(NONNEGATIVE),
    sampled_j=maybe(NUMBER),
    source=TEXT,
    scope=TEXT,
    update_s=POSITIVE,
    power_limits_w=listed(maybe(NONNEGATIVE)),
    is_short=BOOLEAN,
)


def _of_samples(name: str) -> Callable[..., Any]:
    return lambda phase, _: [getattr(sample, name) for sample in phase.samples]


def _of_segments(values: Callable[..., Any]) -> Callable[..., Any]:
    """Returns a function for a list that is written only for a run in several segments."""
    return lambda phase, _: (
        list(values(phase)) if any(s.segment for s in phase.samples) else LEFT_OUT
    )


def _of_load(name: str) -> Callable[..., Any]:
    return lambda phase, _: [s.load and getattr(s.load, name) for s in phase.samples]


def _of_energy(name: str) -> Callable[..., Any]:
    return lambda phase, _: [s.energy and getattr(s.energy, name) for s in phase.samples]


def _extra(sample: records.Sample) -> dict[str, Any]:
    """Returns a sample that is not part of the score, but of the energy."""
    names = ("seconds", "num_steps", "num_events", "num_elements", "start_s")
    energy = sample.energy and dataclasses.asdict(sample.energy)
    return {name: getattr(sample, name) for name in names} | {"energy": energy}


class Phase(Record):
    """One compiled step, training or inference; written from a `PhaseResult` and a `RunResult`."""

    lower_s = Field("", NONNEGATIVE, "compile_times.lower_s")
    compile_s = Field("", maybe(NONNEGATIVE), "compile_times.compile_s")
    first_call_s = Field("", POSITIVE, "first_call_s")
    num_unsteady = Field("num_unsteady_samples", SIZE, "num_unsteady")
    sample_s = Field("", listed(SECONDS, 1), _of_samples("seconds"))
    sample_steps = Field("", listed(COUNT, 1), _of_samples("num_steps"))
    sample_events = Field("", listed(COUNT, 1), _of_samples("num_events"))
    sample_elements = Field("", listed(COUNT, 1), _of_samples("num_elements"))
    sample_other_cores = optional("", listed(maybe(NONNEGATIVE)), _of_load("other_cores"))
    sample_stolen_cores = optional("", listed(maybe(NONNEGATIVE)), _of_load("stolen_cores"))
    sample_start_s = optional("", listed(maybe(NUMBER)), _of_samples("start_s"))
    sample_energy_j = optional("", listed(maybe(NONNEGATIVE)), _of_energy("device_j"))
    sample_host_energy_j = optional("", listed(maybe(NONNEGATIVE)), _of_energy("host_j"))
    sample_segment = optional(
        "", listed(SIZE), _of_segments(lambda phase: [s.segment for s in phase.samples])
    )
    sample_is_unsteady = optional("", listed(BOOLEAN), _of_segments(lambda phase: phase.unsteady))
    load = optional("", maybe(keyed(NONNEGATIVE, "other_cores", "stolen_cores")), "load")
    drift = optional(
        "",
        shaped(change=ANY, p_value=ANY, verdict=one_of("none", "drifting", "too few samples")),
        "drift",
    )
    step_s = Field("", SUMMARY, "step_s")
    elements_per_s = Field("", POSITIVE, "elements_per_s")
    padding_fraction = Field("", FRACTION, lambda phase, run: phase.padding_fraction(run.config))
    capacities = optional("", listed(shaped(num_bins=COUNT, num_steps=SIZE)), "capacities")
    flops_per_event = Field("", POSITIVE, "flops_per_event")
    flops_per_s = Field("", POSITIVE, "flops_per_s")
    share_of_peak = Field(
        "",
        maybe(shaped(share=NONNEGATIVE)),
        lambda phase, run: run.share_of_peak(phase.flops_per_s),
    )
    peak_unknown = optional("", maybe(TEXT), lambda _, run: run.peak_unknown)
    memory_per_device = Field(
        "",
        keyed(SIZE, "total_bytes"),
        lambda phase, _: {
            **dataclasses.asdict(phase.memory),
            "total_bytes": phase.memory.total_bytes,
        },
    )
    program_sha256 = Field("", SHA256, "program_sha256")
    telemetry = optional("", maybe(_SERIES), lambda phase, run: consumption.series(run, phase))
    energy = optional("", maybe(_ENERGY), lambda phase, run: consumption.energy(run, phase))
    extra_samples = optional(
        "",
        listed(shaped(seconds=SECONDS, num_events=COUNT, energy=ANY)),
        lambda phase, _: [_extra(s) for s in phase.extra_samples] or LEFT_OUT,
    )
    energy_unknown = optional(
        "", maybe(TEXT), lambda phase, run: consumption.why_no_energy(run, phase)
    )
    # Of the CPU's packages beside accelerators.
    host_energy = optional(
        "", maybe(_ENERGY), lambda phase, run: consumption.energy(run, phase, of_host=True)
    )
    host_energy_unknown = optional(
        "", maybe(TEXT), lambda phase, run: consumption.why_no_energy(run, phase, of_host=True)
    )
    cost = optional(
        "",
        maybe(
            shaped(
                per_million_events=NONNEGATIVE,
                per_million_events_low=maybe(NONNEGATIVE),
                per_million_events_high=maybe(NONNEGATIVE),
            )
        ),
        lambda phase, run: consumption.cost_of_events(run, phase),
    )

    def __init__(self, document: Mapping[str, Any], name: str, score_name: str):
        """Reads the phase of that name; raises ValueError if its lists differ in length."""
        super().__init__(document)
        self.name, self.score_name = name, score_name
        self.samples = tuple(self._samples())

    def _samples(self) -> Iterator[records.Sample]:
        unknown = [None] * len(self.sample_s)  # in reports from before the load was recorded
        others, stolen = self.sample_other_cores or unknown, self.sample_stolen_cores or unknown
        columns = (self.sample_s, self.sample_steps, self.sample_events, self.sample_elements)
        for s, steps, events, elements, other, by_host in zip(
            *columns, others, stolen, strict=True
        ):
            load = None if other is None or by_host is None else load_lib.Load(other, by_host)
            yield records.Sample(s, steps, events, elements, load=load)

    @property
    def compile_times(self) -> records.CompileTimes:
        """Lowering and compiling."""
        return records.CompileTimes(self.lower_s, self.compile_s)

    @property
    def memory_bytes(self) -> int:
        """Memory per device as planned by the compiler."""
        return self.memory_per_device["total_bytes"]

    @property
    def peak_share(self) -> float | None:
        """The rate of operations as a share of the devices' peak rate, if known."""
        return self.share_of_peak["share"] if self.share_of_peak else None

    @property
    def unsteady(self) -> list[bool]:
        """Whether each sample precedes the steady state; of a resumed run, that of its segment."""
        if self.sample_is_unsteady is not None:
            return self.sample_is_unsteady
        return [number < self.num_unsteady for number in range(len(self.samples))]

    @property
    def steady_samples(self) -> tuple[records.Sample, ...]:
        """The samples that the score is computed from."""
        pairs = zip(self.samples, self.unsteady, strict=True)
        return tuple(sample for sample, is_unsteady in pairs if not is_unsteady)

    @property
    def rates(self) -> list[float]:
        """Real events per second of every steady sample, in order."""
        return [sample.events_per_s for sample in self.steady_samples]

    @property
    def score(self) -> summaries.Summary:
        """Real events per second in the steady state, recomputed from the samples."""
        return summaries.summarize(self.rates)
