"""Keeps a run safe: saves it in time, and goes on with a run that was interrupted.

A score never mixes segments from different machines, devices, versions or programs: such a run is
not resumed, or resumed without a score.
"""

import dataclasses
import platform
import time
import types
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jax

from mlpf_jax import config as config_lib
from mlpf_jax import errors, stopping
from mlpf_jax import progress as progress_lib
from mlpf_jax.measure import identity as identity_lib
from mlpf_jax.measure import records
from mlpf_jax.report import checksums
from mlpf_jax.run import inputs as inputs_lib
from mlpf_jax.run import track as track_lib
from mlpf_jax.training import checkpoint_folder, state

if TYPE_CHECKING:
    from mlpf_jax.training import checkpoint as checkpoint_lib

# Settings that change how training is computed but not what: with --allow_change, they may differ.
_CHANGEABLE = {
    "measures_compile",
    "mode",
    "model.pair_kernel",
    "model.precision",
    "num_devices",
    "num_infer_samples",
    "parallel",
    "train.batch_size",  # the global batch must stay
    "train.events_at_once",
}
_MOST_SHOWN = 3
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")

Facts = Mapping[str, str]


def checkpoints() -> types.ModuleType:
    """Imports Orbax only when needed, because it takes a second."""
    from mlpf_jax.training import checkpoint

    return checkpoint


def facts(
    config: config_lib.RunConfig,
    devices: Sequence[jax.Device],
    inputs: inputs_lib.Inputs,
    environment: Mapping[str, Any],
    sensors: Sequence[Mapping[str, Any]] = (),
) -> dict[str, str]:
    """Returns everything that must be the same in all segments of a run, by name.

    `sensors` are descriptions by the telemetry, which knows one device from another of its kind.
    """
    runtime, around = environment.get("runtime", {}), environment.get("surroundings", {})
    identity = around.get("identity") or {}
    found = {
        "machine": identity_lib.Identity(**identity).key if identity else "unknown",
        "host": _host(),
        "CPU quota": around.get("slot", {}).get("cpu_quota"),  # `num_cores` is rounded up
        "devices": ", ".join(device.device_kind for device in devices),
        "identity of devices": ", ".join(
            f"{one['uuid']} ({one.get('share')})" for one in sensors if "uuid" in one
        ),
        "code": checksums.code_md5(),
        "train events": inputs.train.description.sha256 if inputs.train else "none",
        "test events": inputs.test.description.sha256,
    }
    found |= {f"version of {name}": text for name, text in environment["versions"].items()}
    found |= {
        f"runtime {name}": str(runtime[name])
        for name in ("xla_flags", "allocator", "cpu_dispatch", "num_cores", "variables")
        if name in runtime
    }
    found["--global_batch_size"] = str(config.global_batch_size)
    found |= {f"--{name}": str(value) for name, value in _flat(dataclasses.asdict(config))}
    return {name: str(value) for name, value in found.items()}


def common(found: Facts) -> dict[str, str]:
    """Returns the facts that all processes of one run must share: their machines may differ."""
    own = ("machine", "host", "CPU quota", "identity of devices", "runtime num_cores")
    return {name: value for name, value in found.items() if name not in own}


def _host() -> str:
    """A name for the booted system: containers on it have names of their own."""
    try:
        return _BOOT_ID.read_text().strip()
    except OSError:
        return platform.node()


def _flat(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in tree.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield prefix + name, value


class Keeper:
    """Saves the progress of one run into its folder of checkpoints, if it has one.

    `Keeper.open` finds the progress of an interrupted run; `visit` saves when it is time.
    """

    def __init__(
        self,
        files: config_lib.FilesConfig,
        stop: stopping.Stop,
        progress: progress_lib.Progress,
    ):
        """Takes the folder into use.

        Raises:
            ValueError: if another run uses it, or it does not fit --resume.
            OSError: if it cannot be written to.
        """
        self.track = track_lib.Track()
        self.problems: list[str] = []
        self._files, self._stop, self._progress = files, stop, progress
        self._every_steps, self._every_s = config_lib.checkpoint_interval(files.checkpoint_every)
        self._facts: dict[str, str] = {}
        self._started_at = records.now()
        self._num_saves, self._save_s = 0, 0.0
        self._recovery_s: float | None = None
        self._store: checkpoint_lib.Store | None = None
        if files.checkpoint_dir is not None:
            try:
                self._store = checkpoints().Store(files.checkpoint_dir)
            except ValueError as error:
                raise ValueError(f"{self._flag}: {error}") from None
            self._check_rule()
        self._saved_step, self._saved_s = 0, time.monotonic()

    @property
    def saved_step(self) -> int | None:
        """The step of the newest checkpoint; None if there is none."""
        steps = self._store.steps if self._store else []
        return steps[0] if steps else None

    @property
    def _flag(self) -> str:
        return f"--checkpoint_dir={self._files.checkpoint_dir}"

    def _check_rule(self) -> None:
        assert self._store is not None
        found = self._store.steps
        if found and self._files.resume == "never":
            raise ValueError(
                f"{self._flag}: contains checkpoints, and --resume=never does not overwrite them: "
                "give another folder, or remove it."
            )
        if not found and self._files.resume == "must":
            raise ValueError(f"{self._flag}: no checkpoint is there, but --resume=must needs one.")
        if found and checkpoint_folder.is_complete(self._store.folder):
            raise ValueError(
                f"{self._flag}: that run is complete. To run again, give another folder, or remove "
                "it."
            )

    def open(self, known: Facts, like: state.TrainState) -> state.TrainState | None:
        """Returns the state of the newest checkpoint, with the shapes of `like`; None without one.

        Raises:
            ValueError: if no checkpoint is sound, or the run there is another one.
        """
        self._facts = dict(known)
        if self._store is None or not self._store.steps:
            return None
        restored, wrong = self._store.newest(like)
        if restored is None:
            raise ValueError(
                f"{self._flag}: no checkpoint can be used: {wrong[0]} To start anew, give another "
                "folder."
            )
        for problem in wrong:
            self._progress.tell(f"checkpoint left out: {problem}")
        track, before, earlier = self._parts_of(restored)
        self.track = track
        self._compare(before)
        track.earlier.append(earlier)
        # Seconds since the start of another process's telemetry mean nothing here.
        track.samples = [dataclasses.replace(sample, start_s=None) for sample in track.samples]
        self._saved_step = restored.step
        self._progress.tell(
            f"resuming after step {restored.step}; {earlier.lost_s:.0f} s of work since then were "
            "lost"
        )
        return restored.state

    def _parts_of(
        self, restored: "checkpoint_lib.Restored"
    ) -> tuple[track_lib.Track, dict[str, str], records.Segment]:
        """Returns what a checkpoint tells of its run: track, facts and last segment."""
        record = restored.record
        try:
            track = track_lib.Track.from_json(record["track"])
            before = {name: str(value) for name, value in record["facts"].items()}
            earlier = self._earlier(restored.step, record)
        except (LookupError, TypeError, AttributeError, ValueError, OverflowError) as error:
            raise self._wrong(restored, errors.one_line(error)) from None
        if track.num_steps != restored.step:
            raise self._wrong(restored, f"{track.num_steps} steps were recorded.")
        return track, before, earlier

    def _wrong(self, restored: "checkpoint_lib.Restored", reason: str) -> ValueError:
        return ValueError(f"{self._flag}: step {restored.step}: wrong content: {reason}")

    def check_program(self, name: str, sha256: str) -> None:
        """Compares a compiled program with that of earlier segments.

        Raises:
            ValueError: if it is another one.
        """
        if self._store is not None:  # compiling takes long
            self._store.lock.show_life()
        key = f"{name} program"
        before = self._facts.get(key, sha256)
        self._facts[key] = sha256
        if before != sha256:
            self._differ([f"{key}: {before[:12]} there, {sha256[:12]} here"], is_changeable=True)

    def _compare(self, before: Facts) -> None:
        now = self._facts
        programs = {name: value for name, value in before.items() if name.endswith(" program")}
        names = [name for name in {**now, **before} if name not in programs]
        different = [name for name in names if now.get(name) != before.get(name)]
        fixed = [name for name in different if not _is_changeable(name)]
        if different:
            self._differ(
                [
                    f"{name}: {before.get(name, 'none')} there, {now.get(name, 'none')} here"
                    for name in fixed or different
                ],
                is_changeable=not fixed,
            )
        else:
            self._facts |= programs

    def _differ(self, differences: Sequence[str], *, is_changeable: bool) -> None:
        more = len(differences) - _MOST_SHOWN
        told = "; ".join(differences[:_MOST_SHOWN]) + (f"; {more} more" if more > 0 else "")
        if not is_changeable:
            raise ValueError(f"{self._flag}: of another run: {told}.")
        if not (self._files.allow_change and self._files.resume == "must"):
            raise ValueError(
                f"{self._flag}: of a run under other conditions: {told}. With --resume=must "
                "--allow_change it goes on, without a score."
            )
        reason = f"resumed under other conditions: {told}"
        self.track.refuse_score(reason)
        self._progress.tell(reason)

    def note_first_step(self) -> None:
        """Notes when this process has gone on; see `loop.Keeper`."""
        self._recovery_s = time.monotonic() - self._stop.started_s

    def visit(self, current: state.TrainState, seconds: float) -> None:
        """Saves if it is time; see `loop.Keeper`."""
        self._stop.progressed(seconds)
        if self._store is not None:
            self._store.lock.show_life()
        self._stop.poll()
        new_steps = self.track.num_steps - self._saved_step
        is_due = time.monotonic() - self._saved_s >= self._every_s
        if self._every_steps is not None:
            is_due = new_steps >= self._every_steps
        if self._store is not None and is_due and new_steps:
            self._save(current)

    def rescue(self, current: state.TrainState) -> None:
        """Saves steps that were not saved yet, when training ends or must end.

        A validation alone is not saved: a checkpoint of this step would have to be removed first.
        """
        if self._store is not None and self.track.num_steps != self._saved_step:
            self._save(current)

    def object_to(self, problem: str) -> None:
        """Ends the run, or with --on_nan=record notes that it has no score; see `loop.Keeper`."""
        if self._files.on_nan == "stop":
            raise RuntimeError(
                f"{problem}: the run is useless. Try a smaller --learning_rate; --on_nan=record "
                "goes on without a score."
            )
        if "not finite" not in (self.track.no_score or ""):  # once is enough
            self.track.refuse_score(problem)
            self._progress.tell(f"{problem}; going on without a score")

    def complete(self) -> None:
        """Notes that the report is written: this run is not resumed any more."""
        if self._store is not None and self._store.steps:
            checkpoint_folder.complete(self._store.folder)

    def _save(self, current: state.TrainState) -> None:
        assert self._store is not None
        # Its own duration is known afterwards, see `_earlier`.
        record = {
            "track": self.track.to_json(),
            "facts": self._facts,
            "segment": dataclasses.asdict(self.segment),
            "saved_at_s": time.time(),
        }
        start = time.monotonic()
        try:
            with self._stop.saving():
                self._store.save(self.track.num_steps, current, record)
        except (OSError, ValueError) as error:
            problem = (
                f"{self._flag}: step {self.track.num_steps} was not saved: {errors.one_line(error)}"
            )
            self._progress.tell(problem)
            self.problems = [problem]
        else:
            self.problems = []
            self._num_saves += 1
            self._saved_step = self.track.num_steps
        self._store.lock.show_life()
        took = time.monotonic() - start
        self._save_s += took
        self._saved_s = time.monotonic()
        self._stop.progressed(took)

    @property
    def segment(self) -> records.Segment:
        """This segment, until now."""
        first = sum(one.num_steps for one in self.track.earlier)
        return records.Segment(
            started_at=self._started_at,
            host=platform.node(),
            first_step=first,
            num_steps=self.track.num_steps - first,
            total_s=time.monotonic() - self._stop.started_s,
            lost_s=0.0,
            recovery_s=self._recovery_s,
            num_checkpoints=self._num_saves,
            checkpoint_s=self._save_s,
        )

    def _earlier(self, step: int, document: Mapping[str, Any]) -> records.Segment:
        """The last segment, with its last save, which it recorded before, and what it lost then."""
        assert self._store is not None
        segment = track_lib.built(records.Segment, document["segment"])
        saved_at_s = track_lib.built(float, document["saved_at_s"])
        later_s = self._store.lock.alive_since(saved_at_s)
        save_s = self._store.sealed_at_s(step) - saved_at_s
        if not 0 <= save_s <= later_s:  # the time of a copy
            save_s = 0.0
        return dataclasses.replace(
            segment,
            total_s=segment.total_s + later_s,
            lost_s=later_s - save_s,
            num_checkpoints=segment.num_checkpoints + 1,
            checkpoint_s=segment.checkpoint_s + save_s,
        )


def _is_changeable(name: str) -> bool:
    return not name.startswith("--") or name.removeprefix("--") in _CHANGEABLE
