"""Writes a profiler trace, for Perfetto, XProf or `benchmarks.step`."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jax


def write_trace(folder: Path, actions: Mapping[str, Callable[[], Any]]) -> Path:
    """Runs each action once, in order and to completion, and writes a trace into `folder`.

    The trace contains each action under its name. Python function calls are not traced, because
    that takes more time than the calls themselves. Returns the newest `*.trace.json.gz`, which
    Perfetto opens; XProf opens the `*.xplane.pb` next to it.

    Raises:
        RuntimeError: if the profiler wrote nothing.
    """
    options = jax.profiler.ProfileOptions()
    options.python_tracer_level = 0
    with jax.profiler.trace(str(folder), profiler_options=options):
        for name, action in actions.items():
            with jax.profiler.TraceAnnotation(name):
                jax.block_until_ready(action())
    written = sorted(folder.rglob("*.trace.json.gz"), key=lambda path: path.stat().st_mtime_ns)
    if not written:
        raise RuntimeError(f"the profiler wrote no trace into {folder}.")
    return written[-1]
