"""Compares results with a baseline; shows the talk's tables, or a metric's history.

    mlpf-jax-compare A.json B.json ...          # or folders of runs; A is the baseline
    mlpf-jax-compare --talk RESULTS...          # the talk's two tables, published beside
    mlpf-jax-compare --history=DIR --add FILES  # copies results into a store
    mlpf-jax-compare --history=DIR --metric=training

A file is a row; runs of a folder without known differences are one row. See docs/comparing.md. Exit
status: 0 whatever the ratios are; 1 if a file is not a valid result, or with --strict if a ratio
was refused; 2 for wrong usage.
"""

import dataclasses
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import cast

from absl import flags

from mlpf_jax import cli, keeping
from mlpf_jax.compare import history, history_tables, ratio_tables, ratios, runs, talk
from mlpf_jax.render import tables
from mlpf_jax.report import copies

_BASELINE = flags.DEFINE_string("baseline", None, "File or folder to compare with. Default: first.")
_FORMAT = flags.DEFINE_enum("format", "terminal", tables.FORMATS, "Output format.")
_OUT = flags.DEFINE_string("out", None, "File to write, instead of the terminal.")
_RUN_NOISE = flags.DEFINE_float(
    "run_noise",
    ratios.RUN_NOISE,
    "Relative standard deviation between processes, used if there are too few runs.",
    lower_bound=0.0,
    upper_bound=1.0,
)
_STRICT = flags.DEFINE_bool("strict", False, "Fail if a ratio is refused.")
_TALK = flags.DEFINE_bool("talk", False, "Show the talk's tables.")
_HISTORY = flags.DEFINE_string(
    "history", None, "Folder of stored results: show the history of a metric."
)
_METRIC = flags.DEFINE_enum(
    "metric", "training", list(history.METRICS), "Metric that --history shows."
)
_ADD = flags.DEFINE_bool("add", False, "Copy the files into the folder of --history.")


def main(argv: Sequence[str]) -> int:
    paths = [Path(name) for name in argv[1:]]
    if wrong := _wrong_usage(paths):
        return cli.complain(wrong, cli.USAGE)
    try:
        return _add(paths) if _ADD.value else _show(paths)
    except (OSError, ValueError) as error:
        return cli.complain(error, cli.FAILURE)


def _wrong_usage(paths: Sequence[Path]) -> str | None:
    if _TALK.value and _HISTORY.value:
        return "--talk and --history exclude each other: give one."
    if _ADD.value and not _HISTORY.value:
        return "--add copies into a store: give it with --history=DIR."
    if _HISTORY.value and bool(paths) != _ADD.value:
        return "--history=DIR shows the results in DIR: to copy files there, give --add."
    if not paths and not _HISTORY.value and not _BASELINE.value:
        return "give results: mlpf-jax-compare A.json B.json"
    return None


def _add(paths: Sequence[Path]) -> int:
    for added in history.add(Path(_HISTORY.value or ""), paths):
        print(f"{added.path}: {'added' if added.is_new else 'was there'}")
    return 0


def _show(paths: Sequence[Path]) -> int:
    seen = copies.Seen()
    if _HISTORY.value:
        found = history.series(runs.read_all([Path(_HISTORY.value)], seen, cli.tell), _METRIC.value)
        _write(history_tables.view(found, _METRIC.value), seen)
        return 0
    if _TALK.value:
        _write(talk.view(runs.read_all(paths, seen, cli.tell)), seen)
        return 0
    first = [Path(_BASELINE.value)] if _BASELINE.value else []
    others = [path for path in paths if path not in first]
    groups = runs.read_groups([*first, *others], seen, cli.tell)
    found = ratios.compare(groups, run_noise=_RUN_NOISE.value)
    _write(ratio_tables.view(found), seen)
    refusals = ratios.refusals(found)
    if _STRICT.value and refusals:
        return cli.complain(f"--strict: {refusals[0]} ({len(refusals)} in all)", cli.FAILURE)
    return 0


def _write(view: tables.View, seen: copies.Seen) -> None:
    if seen.note:
        view = dataclasses.replace(view, notes=(*view.notes, seen.note))
        cli.tell(seen.note)
    width = shutil.get_terminal_size((120, 24)).columns
    is_terminal = sys.stdout.isatty() and not _OUT.value
    text = tables.render(view, cast(tables.Format, _FORMAT.value), width=width, colour=is_terminal)
    if _OUT.value:
        keeping.write_file(Path(_OUT.value), text.encode())
    else:
        sys.stdout.write(text)


def run_app() -> None:
    """Runs the program."""
    cli.run(main, takes_files=True)


if __name__ == "__main__":
    run_app()
