"""Writes what a study found into its folder, and its tables to the terminal."""

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
    """Prints the tables, then writes them as NAME.json, .md, .csv, and the picture.

    `plot` is svg, png or none; without Matplotlib a line on stderr tells that there is none.

    Raises:
        OSError: if a file cannot be written; everything has been printed then.
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
    plots = importlib.import_module("mlpf_jax.study.plots")  # Matplotlib is an extra
    keeping.write_file(out / f"{name}.{plot}", plots.draw(found, plot))
