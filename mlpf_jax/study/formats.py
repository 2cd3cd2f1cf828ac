"""How a scaling study writes its estimates: the mean, then its 95 % interval in brackets."""

import math
from collections.abc import Callable

from mlpf_jax.stats import scaling_laws


def rate(found: scaling_laws.Estimate | None) -> str:
    """Returns events/s, or seconds, with four digits."""
    return _text(found, lambda value: f"{value:#.4g}".rstrip("."))


def ratio(found: scaling_laws.Estimate | None) -> str:
    """Returns a speed-up or a fraction with three digits."""
    return _text(found, lambda value: f"{value:#.3g}".rstrip("."))


def share(found: scaling_laws.Estimate | None) -> str:
    """Returns an efficiency in percent."""
    text = _text(found and found.scaled(100.0), lambda value: f"{value:.1f}")
    return text if found is None else f"{text} %"


def accuracy(found: scaling_laws.Estimate | None) -> str:
    """Returns an accuracy with four decimals, as the talk of 2022 gives it."""
    return _text(found, lambda value: f"{value:.4f}")


def change(found: scaling_laws.Estimate | None) -> str:
    """Returns a difference of accuracies, with its sign."""
    return _text(found, lambda value: f"{value:+.4f}")


def spread(found: float | None) -> str:
    """Returns a largest difference of accuracies."""
    return "-" if found is None else f"{found:.1e}" if found else "0"


def _text(found: scaling_laws.Estimate | None, show: Callable[[float], str]) -> str:
    """A single run has no interval; what a number is by definition needs none."""
    if found is None:
        return "-"
    if math.isinf(found.high) or found.low == found.high:
        return show(found.value)
    return f"{show(found.value)} ({show(found.low)} to {show(found.high)})"
