"""Windows of a run's compiled steps, for a comparison of several programs in turns."""

import functools
from collections.abc import Mapping
from typing import Any

import jax

from mlpf_jax.measure import timing, window
from mlpf_jax.report import result
from mlpf_jax.run import loop, phases, track
from mlpf_jax.run import setup as setup_lib
from mlpf_jax.training import state


def windows(
    setup: setup_lib.Setup,
    steps: Mapping[str, loop.TrainStep],
    measured: Mapping[str, result.PhaseResult],
    current: state.TrainState,
    batch: Any,
) -> window.Windows:
    """Returns windows of the steps of every measured phase, on one batch on the devices.

    Inference and training share the weights, which training goes on to update. A window raises
    ArithmeticError if a loss is not finite.
    """

    def run(name: str, num_steps: int) -> float:
        nonlocal current
        current, sums, seconds = timing.time_steps(
            steps[name], current, [batch] * num_steps, waits_each=setup.waits_each
        )
        setup.stop.progressed(seconds)
        losses = phases.floats(jax.device_get(sums[-1]).mean_losses())
        if wrong := track.not_finite(losses):
            raise ArithmeticError(f"a loss of {name} is not finite ({wrong})")
        return seconds

    planned = max(phase.memory.total_bytes for phase in measured.values())
    return window.Windows(
        phases={name: functools.partial(run, name) for name in measured},
        programs={name: phase.program_sha256 for name, phase in measured.items()},
        memory_bytes=planned * setup.config.num_devices,
        events_per_step=setup.config.global_batch_size,
    )
