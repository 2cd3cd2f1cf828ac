"""The interface of all sources of telemetry, and what they share."""

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, Protocol, runtime_checkable

# An accelerator that computes, the host, or all packages of its CPU (which compute without one).
Part = Literal["device", "host", "packages"]


# What other answers than the expected ones end in: functions, keys and files that are not there.
_ANSWERS = (AttributeError, KeyError, OSError, TypeError, ValueError)


@dataclasses.dataclass(frozen=True)
class Counter:
    """A counter of energy."""

    source: str  # the interface that it is read by
    scope: str  # what its energy was used by
    update_s: float  # how often it changes
    has_power_sensor: bool  # beside the counter, so that one can be checked by the other
    read_j: Callable[[], float | None]  # joules since any fixed moment; None: refused


@dataclasses.dataclass(frozen=True)
class Absent:
    """The reason why there is no counter."""

    reason: str


@runtime_checkable
class Source(Protocol):
    """Sensors of one device, or of the host. No method raises an error of the interface."""

    name: str  # unique in a run, e.g. "GPU 0"
    part: Part
    settle_s: float  # least time between two calls of `sample`; 0: no limit
    energy: Counter | Absent
    refused: dict[str, str]  # values that could not be read so far, with the reason

    def describe(self) -> Mapping[str, Any]:
        """Returns what does not change during a run. Unknown values are None."""

    def sample(self) -> Mapping[str, float | None]:
        """Returns the present values by name, with the unit at its end. Unknown values are None.

        A name that begins with `slowed_` is 1 if that reason slows the device down, and else 0.
        """

    def close(self) -> None:
        """Gives the interface back."""


class Asker:
    """Asks an interface for values, and keeps the reason if it refuses one."""

    def __init__(self, *errors: type[Exception]):
        self._errors: tuple[type[Exception], ...] = (*errors, *_ANSWERS)
        self.refused: dict[str, str] = {}

    def ask(self, name: str, call: Callable[..., Any], *arguments: Any) -> Any:
        """Returns the answer, or None if the interface refuses or does not know the question."""
        try:
            answer = call(*arguments)
            return answer.decode() if isinstance(answer, bytes) else answer  # of older bindings
        except self._errors as error:
            text = " ".join(str(error).split()) or type(error).__name__
            self.refused.setdefault(name, text[:200])
            return None

    def number(self, name: str, call: Callable[..., Any], *arguments: Any) -> float | None:
        """Returns the answer as a number; None if it is none, or not finite."""

        def read() -> float:
            value = float(call(*arguments))
            if not math.isfinite(value):
                raise ValueError(f"{value} is no number")
            return value

        return self.ask(name, read)


def only(found: Sequence[Any]) -> Any:
    """Returns the only GPU of a machine.

    Raises:
        LookupError: if there is not exactly one, so that it is unknown which ones the run uses.
    """
    if len(found) != 1:
        raise LookupError(f"which of {len(found)} GPUs the run uses is unknown")
    return found[0]


def scaled(value: float | int | None, factor: float) -> float | None:
    """Returns the value in another unit; None stays None."""
    return None if value is None else value * factor
