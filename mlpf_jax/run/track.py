"""What training has done so far, besides the state: a resumed run goes on with it."""

import dataclasses
import hashlib
import math
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import numpy as np

from mlpf_jax.measure import records
from mlpf_jax.report import fields, result
from mlpf_jax.run import feed, phases
from mlpf_jax.training import step as step_lib

OnNotFinite = Callable[[str], None]  # takes what is not finite; raises if the run must end


@dataclasses.dataclass
class Track:
    """The steps, samples and epochs of training so far, in all segments of the run.

    A segment is the part of a run in one process.
    """

    losses: list[dict[str, float]] = dataclasses.field(default_factory=list)  # of every step
    batches: list[str] = dataclasses.field(default_factory=list)  # digest of each step's events
    samples: list[records.Sample] = dataclasses.field(default_factory=list)
    epochs: list[result.EpochResult] = dataclasses.field(default_factory=list)
    earlier: list[records.Segment] = dataclasses.field(default_factory=list)
    first_call_s: float | None = None  # in the last segment with a step
    train_s: float = 0.0
    input_times: records.InputTimes = dataclasses.field(default_factory=records.InputTimes)
    no_score: str | None = None  # why this run has no score
    not_finite: list[int] = dataclasses.field(default_factory=list)  # steps with such a loss
    # Of the epoch that has not ended:
    sums: list[step_lib.StepSums] = dataclasses.field(default_factory=list)
    events_in_epoch: int = 0
    epoch_s: float = 0.0
    has_first_call: bool = False

    @property
    def num_steps(self) -> int:
        """Number of steps in all segments."""
        return len(self.losses)

    @property
    def segment(self) -> int:
        """The number of this segment; the first one is 0."""
        return len(self.earlier)

    def add_steps(
        self,
        fed: Sequence[feed.FedBatch],
        sums: Sequence[step_lib.StepSums],
        on_not_finite: OnNotFinite,
    ) -> None:
        """Adds steps, with their batches and outputs on the host.

        `on_not_finite` is told of a loss that is not finite. If it raises, the step is not added.
        """
        for batch, one in zip(fed, sums, strict=True):
            losses = phases.floats(one.mean_losses())
            if wrong := not_finite(losses):
                events = ", ".join(map(str, batch.indices[:16]))
                step = self.num_steps + 1
                on_not_finite(
                    f"the loss of step {step} is not finite ({wrong}; training events {events})"
                )
                self.not_finite.append(step)
                # JSON does not keep the sign of NaN, which the digest would show.
                losses = {n: math.nan if math.isnan(x) else x for n, x in losses.items()}
            self.losses.append(losses)
            self.batches.append(_joined(batch.digests))
            self.sums.append(one)
            self.events_in_epoch += batch.num_events

    def refuse_score(self, reason: str) -> None:
        """Notes a reason why this run has no score."""
        self.no_score = f"{self.no_score}; {reason}" if self.no_score else reason

    def add_first_call(self, seconds: float) -> None:
        """Notes the first step of this segment, which is not a sample."""
        self.first_call_s = seconds
        self.has_first_call = True

    def add_time(self, seconds: float, input_times: records.InputTimes) -> None:
        """Adds to the time of the epoch; `input_times` is the total so far."""
        self.epoch_s += seconds
        self.train_s += seconds
        self.input_times = input_times

    def close_epoch(
        self,
        num_steps: int,
        quality: result.Quality,
        validation: result.Quality,
        validation_s: float,
        on_not_finite: OnNotFinite,
    ) -> None:
        """Ends the epoch; see `add_steps`."""
        if wrong := not_finite(validation.losses):
            epoch = len(self.epochs) + 1
            on_not_finite(f"the validation loss of epoch {epoch} is not finite ({wrong})")
        self.epochs.append(
            result.EpochResult(
                seconds=self.epoch_s,
                validation_s=validation_s,
                num_steps=num_steps,
                num_events=self.events_in_epoch,
                train=quality,
                validation=validation,
                has_first_call=self.has_first_call,
            )
        )
        self.sums, self.events_in_epoch, self.epoch_s = [], 0, 0.0
        self.has_first_call = False

    @property
    def loss_sha256(self) -> str:
        """The SHA-256 of all losses so far, as float32."""
        return loss_sha256(self.losses)

    @property
    def batch_sha256(self) -> str:
        """The SHA-256 of the digests of all batches so far."""
        return hashlib.sha256("".join(self.batches).encode()).hexdigest()

    def to_json(self) -> dict[str, Any]:
        """Returns it as plain values; floats are exact."""
        document = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        document["sums"] = [
            {
                "losses": phases.floats(one.losses),
                "counts": np.asarray(one.counts).tolist(),
                "num_events": float(one.num_events),
            }
            for one in self.sums
        ]
        return fields.plain(document)

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> "Track":
        """Reads it again.

        Raises:
            AttributeError, KeyError, OverflowError, TypeError, ValueError: if it was not written
                by `to_json`.
        """
        sums = [
            step_lib.StepSums(**jax.tree.map(_float32, one, is_leaf=_is_number_or_rows))
            for one in document["sums"]
        ]
        found = built(cls, {**document, "sums": []})
        if any(_is_empty(one) for one in found.samples):
            raise ValueError("a sample has no time, or nothing was done in it")
        return dataclasses.replace(found, sums=sums)


def _is_empty(sample: records.Sample) -> bool:
    done = sample.num_steps, sample.num_events, sample.num_elements
    return sample.seconds < fields.SHORTEST_S or min(done) < 1


def _joined(digests: Sequence[str]) -> str:
    """Returns one digest for those of all devices, of the same length."""
    joined = "".join(digests)
    return joined if len(digests) == 1 else hashlib.sha256(joined.encode()).hexdigest()[:16]


def not_finite(losses: Mapping[str, float]) -> str:
    """Returns the names of the losses that are not finite."""
    return ", ".join(name for name, value in losses.items() if not math.isfinite(value))


def loss_sha256(steps: Sequence[Mapping[str, float]]) -> str:
    """Returns the SHA-256 of the losses of all steps, by name, as float32."""
    digest = hashlib.sha256()
    for losses in steps:
        for name in sorted(losses):
            digest.update(np.float32(losses[name]).tobytes())
    return digest.hexdigest()


def _float32(value: Any) -> Any:
    try:
        with np.errstate(over="raise"):
            return np.float32(value)
    except FloatingPointError:
        raise OverflowError("a number is too large for float32") from None


def _is_number_or_rows(value: Any) -> bool:
    return not isinstance(value, dict)


def built(hint: Any, value: Any) -> Any:
    """Returns a value of the type `hint` from its plain form, which a stranger may have written.

    Raises:
        AttributeError, KeyError, OverflowError, TypeError, ValueError: if it is not of that type.
    """
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (types.UnionType, typing.Union):
        (hint,) = set(arguments) - {types.NoneType}
        return None if value is None else built(hint, value)
    if dataclasses.is_dataclass(hint):
        hints = typing.get_type_hints(hint)
        return hint(**{name: built(hints[name], item) for name, item in value.items()})
    if origin in (dict, Mapping):  # of losses, which need not be finite
        return {key: _number(item) for key, item in value.items()}
    if hint is float:
        if not math.isfinite(found := _number(value)):
            raise ValueError(f"{value} is no measured number")
        return found
    plain = origin or hint
    if not isinstance(value, (list, tuple) if plain is tuple else plain):
        raise TypeError(f"{value!r:.40} instead of {hint}")
    if origin in (list, tuple):
        return origin(built(arguments[0], item) for item in value)
    return hint(value)


def _number(value: Any) -> float:
    if not isinstance(value, int | float):
        raise TypeError(f"{value!r:.40} instead of a number")
    return float(value)
