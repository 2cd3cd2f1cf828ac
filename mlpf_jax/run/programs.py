"""Compiles a step ahead of time: once, or once for every length of the batches."""

import collections
import dataclasses
import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import jax

from mlpf_jax import config as config_lib
from mlpf_jax import progress as progress_lib
from mlpf_jax.events import batch as batch_lib
from mlpf_jax.measure import memory, records, timing
from mlpf_jax.report import result


@dataclasses.dataclass(frozen=True)
class Programs:
    """The programs of one step, by rows per device, and the results of their compilation."""

    by_rows: Mapping[int, jax.stages.Compiled]
    times: records.CompileTimes  # total of all programs
    memory: records.StepMemory  # of the largest program
    sha256: str  # digest of the StableHLO of all programs

    def __call__(self, state: Any, batch: Any, *rest: Any) -> Any:
        """Runs the program for the batch's length."""
        return self.by_rows[batch_lib.rows_per_device(batch)](state, batch, *rest)

    def phase(
        self,
        config: config_lib.RunConfig,
        first_call_s: float,
        samples: tuple[records.Sample, ...],
        flops_of_full_event: float,
    ) -> result.PhaseResult:
        """Returns the result of the phase with the given samples."""
        phase = result.PhaseResult(
            compile_times=self.times,
            first_call_s=first_call_s,
            samples=samples,
            memory=self.memory,
            program_sha256=self.sha256,
            flops_per_event=flops_of_full_event,
            capacities=self._capacities(config, samples),
        )
        if not phase.capacities:
            return phase
        num_events = sum(sample.num_events for sample in samples)
        of_full = phase.num_places(config) / (num_events * config.data.num_elements)
        return dataclasses.replace(phase, flops_per_event=of_full * flops_of_full_event)

    def _capacities(self, config, samples) -> tuple[result.Capacity, ...]:
        if config.data.padding == "full":
            return ()
        used = collections.Counter(rows for sample in samples for rows in sample.step_rows)
        return tuple(
            result.Capacity(num_bins=rows // config.model.bin_size, num_steps=used[rows])
            for rows in sorted(self.by_rows)
        )


def compile_step(
    name: str,
    function: timing.Lowerable,
    batches: Sequence[Any],
    arguments: tuple[Any, Sequence[Any]],
    progress: progress_lib.Progress,
    *,
    from_cache: bool = False,
) -> Programs:
    """Compiles function(state, batch, *rest) for each of the batches, which differ in length.

    `arguments` are the state and the rest. `from_cache` allows loading from JAX's cache.
    """
    state, rest = arguments
    compiled, times, memories, digest = {}, [], [], hashlib.sha256()
    for batch in batches:
        rows = batch_lib.rows_per_device(batch)
        which = f" for {rows} elements per device" if len(batches) > 1 else ""
        progress.say(f"compiling the {name} step{which}")
        lowered, program, took = timing.compile_step(
            function, state, batch, *rest, from_cache=from_cache
        )
        if took.total_s is not None:
            progress.tell(f"compiled in {took.total_s:.1f} s")
        compiled[rows] = program
        times.append(took)
        memories.append(memory.of_step(program))
        digest.update(lowered.as_text().encode())
    return Programs(
        by_rows=compiled,
        times=records.CompileTimes(
            sum(took.lower_s for took in times),
            None if from_cache else sum(took.compile_s or 0.0 for took in times),
        ),
        memory=max(memories, key=lambda needed: needed.total_bytes),
        sha256=digest.hexdigest(),
    )
