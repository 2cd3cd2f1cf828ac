"""What the instruments record, as plain values: who reads or shows them needs no JAX."""

import dataclasses

from mlpf_jax.measure import load as load_lib


@dataclasses.dataclass(frozen=True)
class CompileTimes:
    """Seconds spent before the first step can run."""

    lower_s: float  # Python tracing and lowering to StableHLO
    compile_s: float | None  # XLA; None: not measured, the program came from a cache

    @property
    def total_s(self) -> float | None:
        """Both together; None if one is not known."""
        return None if self.compile_s is None else self.lower_s + self.compile_s


@dataclasses.dataclass(frozen=True)
class Sample:
    """Steps dispatched back to back, timed from the first dispatch until the last is done."""

    seconds: float
    num_steps: int
    num_events: int  # real ones: those that fill up a short batch do not count
    num_elements: int  # real ones
    step_rows: tuple[int, ...] = ()  # of each step, on each device, padding included; or unknown
    load: load_lib.Load | None = None  # what others did meanwhile; None if unknown

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
    """Seconds spent on input: beside the computation, and by the computation waiting for it."""

    load_s: float = 0.0  # from the files into a padded batch
    transfer_s: float = 0.0  # from the host onto the devices
    wait_s: float = 0.0  # the computation stood still


@dataclasses.dataclass(frozen=True)
class StepMemory:
    """What one device needs for a compiled step, by XLA's own account, in bytes."""

    argument_bytes: int
    output_bytes: int
    alias_bytes: int  # outputs that take the place of donated arguments
    temporary_bytes: int

    @property
    def total_bytes(self) -> int:
        """All of it at once."""
        return self.argument_bytes + self.output_bytes - self.alias_bytes + self.temporary_bytes
