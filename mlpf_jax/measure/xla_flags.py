"""A user's XLA_FLAGS: read as XLA reads them, checked, and joined with ours. Imports no JAX.

XLA ends the process at a flag that it does not know, so a user's flags are tried in another one.
"""

import re
import shlex
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

_REFUSED = {
    "--xla_force_host_platform_device_count": "Give --num_devices=N instead.",
}
# What flags make of a measurement: regular expressions of a whole flag, with its value.
_DOUBTS = (
    (r"--xla_backend_optimization_level=[012]", "fewer optimizations"),
    (r"--xla_disable_(all_)?hlo_passes\b.*", "passes of the compiler left out"),
    (r"--xla_cpu_multi_thread_eigen=(false|0)", "one thread for each product"),
    (r"--xla_(cpu|gpu)_enable_fast_(math|min_max)(=(true|1))?", "inexact arithmetic"),
    (r"--xla_(dump_|hlo_profile|enable_dumping|cpu_dump|gpu_dump).*", "XLA writes files"),
)
_TRIAL = "import jax; jax.config.update('jax_platforms', 'cpu'); jax.devices()"
_TRIAL_TIMEOUT_S = 120


def read(value: str) -> list[str]:
    """Returns the flags of XLA_FLAGS, given as such or as the name of a file that holds them.

    Raises:
        ValueError: if that file cannot be read, or a quotation does not end.
    """
    if value.strip() and not value.lstrip().startswith("-"):
        try:
            value = Path(value).read_text()
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or "not a text file"
            raise ValueError(
                f"XLA_FLAGS={value}: {reason}. Give flags that begin with --, or a file of them."
            ) from None
    try:
        return shlex.split(value)
    except ValueError as error:
        raise ValueError(f"XLA_FLAGS: {error}: {value[:80]}") from None


def join(given: Sequence[str], ours: Mapping[str, str]) -> str:
    """Returns the user's flags and, where the user says nothing, ours, as XLA_FLAGS takes them."""
    names = {flag.partition("=")[0] for flag in given}
    added = [f"{name}={value}" for name, value in ours.items() if name not in names]
    return " ".join(map(_quote, [*given, *added]))


def check(given: Sequence[str], environ: Mapping[str, str]) -> None:
    """Tries a user's flags in a process of their own.

    Raises:
        ValueError: if one cannot be used; one line that names it.
    """
    for flag in given:
        name = flag.partition("=")[0]
        if name in _REFUSED:
            raise ValueError(f"XLA_FLAGS: {name} has no effect on this run. {_REFUSED[name]}")
    try:
        done = subprocess.run(
            [sys.executable, "-c", _TRIAL],
            env={**environ, "XLA_FLAGS": " ".join(map(_quote, given))},
            capture_output=True,
            timeout=_TRIAL_TIMEOUT_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return  # nothing is known of the flags; XLA itself will say
    if done.returncode:
        raise ValueError(
            f"XLA_FLAGS: {_complaint(done.stderr.decode(errors='replace'), given)}. "
            "Take it out, or use a jaxlib that knows it."
        )


def doubts(flags: str) -> list[str]:
    """Returns what speaks against a run in the flags that it had."""
    return [
        f"XLA_FLAGS {flag}: {reason}"
        for flag in shlex.split(flags)
        for pattern, reason in _DOUBTS
        if re.fullmatch(pattern, flag)
    ]


def shown(flags: str) -> str:
    """Returns the flags as a report may tell them: a path is replaced by PATH."""
    tokens = (flag.partition("=") for flag in shlex.split(flags))
    return " ".join(name + sign + ("PATH" if "/" in v else v) for name, sign, v in tokens)


def _complaint(stderr: str, given: Sequence[str]) -> str:
    """Finds the flag that XLA's message is about."""
    unknown = re.search(r"Unknown flags? in XLA_FLAGS: (.*)", stderr)
    if unknown:
        return f"this jaxlib does not know {unknown[1].strip()}"
    value = re.search(r"Couldn't interpret value (\S*) for flag (\S+?)\.?\s", stderr)
    if value:
        return f"{value[1]} is no value of --{value[2]}"
    return f"XLA does not start with {' '.join(given)[:200]}"


def _quote(flag: str) -> str:
    """Quotes the value alone: XLA takes a quotation mark at the beginning for a file's name."""
    name, sign, value = flag.partition("=")
    return f"{name}{sign}{shlex.quote(value)}" if re.search(r"[\s'\"\\]", value) else flag
