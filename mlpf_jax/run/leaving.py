"""The last words of a run that stops early: an incomplete report, and one line."""

import contextlib
import dataclasses
from collections.abc import Mapping
from typing import Any

from mlpf_jax import config as config_lib
from mlpf_jax import errors, stopping
from mlpf_jax.measure import records
from mlpf_jax.report import incomplete, result
from mlpf_jax.run import ending, resuming


@dataclasses.dataclass
class Course:
    """What is known of a run while it goes on. None: it has not come that far."""

    stop: stopping.Stop
    files: config_lib.FilesConfig
    arguments: str
    started_at: str = dataclasses.field(default_factory=records.now)
    config: config_lib.RunConfig | None = None
    environment: Mapping[str, Any] | None = None
    keeper: resuming.Keeper | None = None
    writes: bool = True  # only process 0 of several does
    is_reported: bool = False  # the report of the complete run is written

    def deliver(self, finished: result.RunResult) -> list[str]:
        """Writes the report and shows the summary; a signal meanwhile ends the run afterwards.

        Returns the problems, one line each.
        """
        self.stop.enter("reporting")
        with self.stop.deferred(), self.stop.saving():
            problems = ending.deliver(finished, self.arguments, self.files.results_dir)
            self.is_reported = True
            if self.keeper is not None and not problems:
                problems = ending.finish({"checkpoint_dir": self.keeper.complete})
        if self.stop.reason is not None:
            self.stop.poll()
        return problems

    def last_words(self, reason: str) -> str:
        """Writes the incomplete report; returns one line for the user."""
        if not self.writes:
            return self.stop.how(reason)
        if self.is_reported:
            return f"{self.stop.how(reason)} The report is complete."
        with contextlib.suppress(OSError, ValueError, TypeError):
            path = incomplete.write(self._run(reason), self.files.results_dir)
            return f"{self._line(reason)} Incomplete report: {path}"
        return f"{self._line(reason)} The incomplete report could not be written."

    def fail(self, error: BaseException) -> None:
        """Writes the incomplete report of a run that failed."""
        if not self.writes or self.is_reported:
            return
        with contextlib.suppress(OSError, ValueError, TypeError):
            incomplete.write(self._run(errors.one_line(error)), self.files.results_dir)

    def _line(self, reason: str) -> str:
        if self.files.checkpoint_dir is None:
            kept = "Nothing is kept without --checkpoint_dir."
        elif not (step := self._checkpoint_step()):
            kept = "No checkpoint was found."
        else:
            kept = f"The same command goes on from step {step}."
        return f"{self.stop.how(reason)} {kept}"

    def _checkpoint_step(self) -> int | None:
        try:
            return self.keeper.saved_step if self.keeper else None
        except OSError:  # the folder cannot be read any more
            return None

    def _run(self, reason: str) -> incomplete.IncompleteRun:
        track = self.keeper.track if self.keeper else None
        samples = tuple(track.samples) if track else ()
        return incomplete.IncompleteRun(
            reason=reason,
            phase=self.stop.phase,
            started_at=self.started_at,
            stopped_at=records.now(),
            arguments=self.arguments,
            checkpoint_step=self._checkpoint_step(),
            config=self.config,
            environment=self.environment,
            num_steps=track.num_steps if track else 0,
            epoch_times=tuple(epoch.seconds for epoch in track.epochs) if track else (),
            sample_s=tuple(sample.seconds for sample in samples),
            sample_events=tuple(sample.num_events for sample in samples),
            segments=(*track.earlier, self.keeper.segment) if track and self.keeper else (),
        )
