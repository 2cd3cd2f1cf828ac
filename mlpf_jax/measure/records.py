"""Plain records of measurements. Code that reads or shows them needs no JAX."""

import dataclasses
import datetime

from mlpf_jax.measure import load as load_lib


@dataclasses.dataclass(frozen=True)
class CompileTimes:
    """Seconds spent before the first step can run."""

    lower_s: float  # Python tracing and lowering to StableHLO
    compile_s: float | None  # XLA; None: not measured, the program was loaded from a cache

    @property
    def total_s(self) -> float | None:
        """The sum of both; None if one is unknown."""
        return None if self.compile_s is None else self.lower_s + self.compile_s


@dataclasses.dataclass(frozen=True)
class Energy:
    """Joules that were used during a sample. None: there is no counter that could be read."""

    device_j: float | None  # by the devices that computed: accelerators, or the CPU's packages
    host_j: float | None  # by the CPU's packages of a host with accelerators


@dataclasses.dataclass(frozen=True)
class Sample:
    """Steps dispatched back to back, timed from the first dispatch until the last is done."""

    seconds: float
    num_steps: int
    num_events: int  # real events, without those that fill up a short batch
    num_elements: int  # real ones
    step_rows: tuple[
        int, ...
    ] = ()  # rows of each step on each device, including padding; empty if unknown
    load: load_lib.Load | None = None  # CPU use by others during the sample; None if unknown
    energy: Energy | None = None
    start_s: float | None = None  # since the start of the recording of telemetry
    segment: int = 0  # of a run that was interrupted and resumed: the number of the process
    own_s: float | None = None  # of several processes: until this one was done, without waiting

    @property
    def events_per_s(self) -> float:
        """Real events per second, on all devices together."""
        return self.num_events / self.seconds

    @property
    def elements_per_s(self) -> float:
        """Real elements per second, on all devices together."""
        return self.num_elements / self.seconds


@dataclasses.dataclass
class InputTimes:
    """Seconds spent on input: in parallel with the computation, and while it waited."""

    load_s: float = 0.0  # from the files into a padded batch
    transfer_s: float = 0.0  # from the host onto the devices
    wait_s: float = 0.0  # the computation waited for input

    def __add__(self, other: "InputTimes") -> "InputTimes":
        return InputTimes(
            self.load_s + other.load_s,
            self.transfer_s + other.transfer_s,
            self.wait_s + other.wait_s,
        )


@dataclasses.dataclass(frozen=True, kw_only=True)
class Segment:
    """One process of a run that was interrupted and resumed."""

    started_at: str  # ISO 8601, UTC
    host: str  # its name
    first_step: int  # steps before it
    num_steps: int  # that were kept
    total_s: float  # from the start of the process until its last sign of life
    lost_s: float  # since its last checkpoint, so computed again
    recovery_s: float | None  # from its start until its first step was done; None: no step was done
    num_checkpoints: int
    checkpoint_s: float


@dataclasses.dataclass(frozen=True)
class StepMemory:
    """Memory of a compiled step on one device as reported by XLA, in bytes."""

    argument_bytes: int
    output_bytes: int
    alias_bytes: int  # outputs that reuse the memory of donated arguments
    temporary_bytes: int

    @property
    def total_bytes(self) -> int:
        """The total of all parts in bytes."""
        return self.argument_bytes + self.output_bytes - self.alias_bytes + self.temporary_bytes


def now() -> str:
    """Returns the current time as reports have it: ISO 8601, UTC."""
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
