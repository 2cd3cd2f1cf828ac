"""Times a training step with the all-reduce and without it, and in process 0 alone."""

import contextlib
import dataclasses
import statistics
from collections.abc import Iterator, Sequence
from unittest import mock

import jax
import numpy as np

from benchmarks.step import workload
from mlpf_jax import config as config_lib
from mlpf_jax.events import batch as batch_lib
from mlpf_jax.hosts import group as group_lib
from mlpf_jax.hosts import windows as windows_lib
from mlpf_jax.measure import timing, window

_SAMPLES = 5
_MOST_STEPS = 100  # of a sample


@dataclasses.dataclass(frozen=True)
class Times:
    """The median seconds of a training step."""

    with_s: float  # with the all-reduce over all devices
    without_s: float  # the same program without it, in all processes at the same time
    alone_s: float | None  # likewise, while only process 0 computes; None if there are no others

    @property
    def share(self) -> float:
        """The part of a step that the all-reduce takes, with the wait for the slowest device."""
        return max(0.0, 1 - self.without_s / self.with_s)

    @property
    def efficiency(self) -> float | None:
        """The speed of a process, as part of that of process 0 alone."""
        return None if self.alone_s is None else self.alone_s / self.with_s


def measure(
    devices: Sequence[jax.Device],
    group: group_lib.Group | None,
    config: config_lib.RunConfig,
    shortest_s: float,
) -> Times:
    """Times the step; all processes of the group must call this at the same time."""
    own = [one for one in devices if one.process_index == jax.process_index()]
    initial = workload.drawn_state(config)
    batch = made_up_batch(config, len(own))
    whole = _Timed(workload.training_step(config, initial, batch, devices), shortest_s)
    with _without_sums():
        apart = _Timed(workload.training_step(config, initial, batch, own), shortest_s)
    windows = None if group is None else windows_lib.Windows(group)
    with_s, without_s, alone_s = whole.step_s(windows), apart.step_s(windows), None
    if group is not None:
        if group.process_id == 0:
            alone_s = apart.step_s(None)
        group.share()  # the others wait here
    return Times(with_s, without_s, alone_s)


def made_up_batch(config: config_lib.RunConfig, num_devices: int) -> batch_lib.EventBatch:
    """Returns random events without padding; padding would make no step faster."""
    abstract = batch_lib.abstract_batch(
        num_devices, config.train.batch_size, num_elements=config.data.num_elements
    )
    rng = np.random.default_rng(0)
    elements, targets = (
        rng.normal(size=part.shape).astype(np.float32)
        for part in (abstract.elements, abstract.targets)
    )
    elements[..., 0] = rng.integers(1, 3, elements.shape[:-1])
    targets[..., 0] = rng.integers(0, 6, targets.shape[:-1])
    return batch_lib.EventBatch(elements, targets, np.ones(abstract.weight.shape, np.float32))


@contextlib.contextmanager
def _without_sums() -> Iterator[None]:
    """Leaves out the sums over devices of steps that are compiled within the block."""
    with mock.patch.object(jax.lax, "psum", lambda tree, axis: tree):
        yield


class _Timed:
    """A step with its state, which every call donates."""

    def __init__(self, step: workload.Step, shortest_s: float):
        self._step, self._state, self._shortest_s = step, step.initial, shortest_s

    def step_s(self, windows: windows_lib.Windows | None) -> float:
        """Returns the median seconds of a step, in windows that all processes share."""
        window.hook = windows
        try:
            self._run(1)
            number = min(timing.steps_per_sample(self._run(1), self._shortest_s), _MOST_STEPS)
            number = number if windows is None else windows.agree(number)
            return statistics.median(self._run(number) for _ in range(_SAMPLES))
        finally:
            window.hook = None

    def _run(self, number: int) -> float:
        self._state, _, seconds = timing.time_steps(
            self._step.advance,
            self._state,
            [self._step.batch] * number,
            waits_each=jax.default_backend() == "cpu",  # as in the benchmark
        )
        return seconds / number
