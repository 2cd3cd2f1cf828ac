"""A user's XLA_FLAGS: parsed as XLA does, checked, and merged with ours. Does not import JAX.

XLA aborts the process at an unknown flag, so a user's flags are first tried in a subprocess.
"""

import re
import shlex
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

CUBLAS = "--xla_gpu_enable_triton_gemm=false"  # leaves all products to cuBLAS, none to Triton
_REFUSED = {
    "--xla_force_host_platform_device_count": "Give --num_devices=N instead.",
}
# Reasons to distrust a measurement, by a regular expression for a whole flag with its value.
_DOUBTS = (
    (r"--xla_backend_optimization_level=[012]", "fewer optimizations"),
    (r"--xla_disable_(all_)?hlo_passes\b.*", "compiler passes skipped"),
    (r"--xla_cpu_multi_thread_eigen=(false|0)", "one thread for each product"),
    (r"--xla_(cpu|gpu)_enable_fast_(math|min_max)(=(true|1))?", "inexact arithmetic"),
    (r"--xla_(dump_|hlo_profile|enable_dumping|cpu_dump|gpu_dump).*", "XLA writes files"),
)
_PATHS = re.compile(r".*_(to|from|file|dir|path)s?")  # flags whose values may be relative paths
_TRIAL = "import jax; jax.config.update('jax_platforms', 'cpu'); jax.devices()"
_TRIAL_TIMEOUT_S = 120


def read(value: str) -> list[str]:
    """Returns the flags of XLA_FLAGS, which is a list of flags or the name of a file with flags.

    Raises:
        ValueError: if the file cannot be read, or a quotation mark is unmatched.
    """
    if value.strip() and not value.lstrip("'\" ").startswith("-"):
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
    """Returns a value for XLA_FLAGS: the user's flags, and ours where the user sets none."""
    names = {flag.partition("=")[0] for flag in given}
    added = [f"{name}={value}" for name, value in ours.items() if name not in names]
    return " ".join(map(_quote, [*given, *added]))


def check(given: Sequence[str], environ: Mapping[str, str]) -> None:
    """Tries a user's flags in a subprocess.

    Raises:
        ValueError: if a flag cannot be used; the message is one line that names it.
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
        return  # the check failed for another reason; XLA itself will report bad flags
    if done.returncode:
        raise ValueError(f"XLA_FLAGS: {_complaint(done.stderr.decode(errors='replace'), given)}.")


def doubts(flags: str) -> list[str]:
    """Returns reasons to distrust a run because of its XLA flags."""
    return [
        f"XLA_FLAGS {flag}: {reason}"
        for flag in shlex.split(flags)
        for pattern, reason in _DOUBTS
        if re.fullmatch(pattern, flag)
    ]


def shown(flags: str) -> str:
    """Returns the flags as they may be published: paths are replaced by PATH."""
    tokens = (flag.partition("=") for flag in shlex.split(flags))
    return " ".join(
        name + sign + ("PATH" if "/" in v or (v and _PATHS.fullmatch(name)) else v)
        for name, sign, v in tokens
    )


def _complaint(stderr: str, given: Sequence[str]) -> str:
    """Returns a message that names the flag in XLA's error message."""
    unknown = re.search(r"Unknown flags? in XLA_FLAGS: (.*)", stderr)
    if unknown:
        return (
            f"this jaxlib does not know {unknown[1].strip()}. "
            "Take it out, or use a jaxlib that knows it"
        )
    value = re.search(r"Couldn't interpret value (\S*) for flag (\S+?)\.?\s", stderr)
    if value:
        return f"{value[1]} is not a valid value of --{value[2]}. Correct it, or take the flag out"
    return f"XLA does not start with {' '.join(given)[:200]}. Take out what you do not need"


def _quote(flag: str) -> str:
    """Quotes the value only: XLA takes a leading quotation mark for the start of a file name."""
    name, sign, value = flag.partition("=")
    return f"{name}{sign}{shlex.quote(value)}" if re.search(r"[\s'\"\\]", value) else flag
