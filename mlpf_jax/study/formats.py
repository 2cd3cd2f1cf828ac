"""Formats of the estimates of a scaling study: the mean, then its 95 % interval in parentheses."""

import math
from collections.abc import Callable

from mlpf_jax.stats import scaling_laws


def rate(found: scaling_laws.Estimate | None) -> str:
    """Formats events/s, or seconds, with four digits."""
    return _text(found, lambda value: f"{value:#.4g}".rstrip("."))


def ratio(found: scaling_laws.Estimate | None) -> str:
    """Formats a speed-up or a fraction with three digits."""
    return _text(found, lambda value: f"{value:#.3g}".rstrip("."))


def share(found: scaling_laws.Estimate | None) -> str:
    """Formats an efficiency in per cent."""
    text = _text(found and found.scaled(100.0), lambda value: f"{value:.1f}")
    return text if found is None else f"{text} %"


def accuracy(found: scaling_laws.Estimate | None) -> str:
    """Formats an accuracy with four decimals, as in the talk of 2022."""
    return _text(found, lambda value: f"{value:.4f}")


def change(found: scaling_laws.Estimate | None) -> str:
    """Formats a difference of accuracies, with its sign."""
    return _text(found, lambda value: f"{value:+.4f}")


def spread(found: float | None) -> str:
    """Formats a largest difference of accuracies."""
    return "-" if found is None else f"{found:.1e}" if found else "0"


def _text(found: scaling_laws.Estimate | None, show: Callable[[float], str]) -> str:
    """Formats an estimate. Single runs and exact values have no interval."""
    if found is None:
        return "-"
    if math.isinf(found.high) or found.low == found.high:
        return show(found.value)
    return f"{show(found.value)} ({show(found.low)} to {show(found.high)})"
