"""Writes the findings of a study into its folder, and prints the tables."""

import importlib
import importlib.util
import shutil
import sys
from pathlib import Path

from mlpf_jax import keeping
from mlpf_jax.render import tables
from mlpf_jax.study import findings

_SUFFIXES: dict[str, tables.Format] = {"json": "json", "md": "markdown", "csv": "csv"}


def write(view: tables.View, found: findings.Findings, out: Path, *, name: str, plot: str) -> None:
    """Prints the tables, then writes NAME.json, .md, .csv, and the plot.

    `plot` is svg, png or none. Without Matplotlib, a line on stderr reports that there is no plot.

    Raises:
        OSError: if a file cannot be written, after printing everything.
    """
    width = shutil.get_terminal_size((120, 24)).columns
    print(tables.render(view, "terminal", width=width, colour=sys.stdout.isatty()), end="")
    out.mkdir(parents=True, exist_ok=True)
    for suffix, wanted in _SUFFIXES.items():
        keeping.write_file(out / f"{name}.{suffix}", tables.render(view, wanted).encode())
    if plot == "none":
        return
    if importlib.util.find_spec("matplotlib") is None:
        print("no picture: pip install 'mlpf_jax[report]'", file=sys.stderr)
        return
    plots = importlib.import_module("mlpf_jax.study.plots")  # Matplotlib is optional
    keeping.write_file(out / f"{name}.{plot}", plots.draw(found, plot))
