"""Writes a profiler's trace of some work, for Perfetto, XProf or our own reading."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jax


def write_trace(folder: Path, actions: Mapping[str, Callable[[], Any]]) -> Path:
    """Does each action once, in order and to its end, and writes a trace of it into `folder`.

    The actions stand in the trace under their names. Python's own calls are left out: tracing
    them takes more time than what they call. Returns the newest `*.xplane.pb`, which XProf opens;
    Perfetto opens the `*.trace.json.gz` beside it.

    Raises:
        RuntimeError: if the profiler wrote nothing.
    """
    options = jax.profiler.ProfileOptions()
    options.python_tracer_level = 0
    with jax.profiler.trace(str(folder), profiler_options=options):
        for name, action in actions.items():
            with jax.profiler.TraceAnnotation(name):
                jax.block_until_ready(action())
    written = sorted(folder.rglob("*.xplane.pb"), key=lambda path: path.stat().st_mtime_ns)
    if not written:
        raise RuntimeError(f"the profiler wrote no trace into {folder}.")
    return written[-1]
