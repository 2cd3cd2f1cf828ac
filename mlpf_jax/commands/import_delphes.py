"""Imports the public Delphes files as sets of events.

    mlpf-jax-import FILES... --out=data
    python -m mlpf_jax.main --data_dir=data

FILES are the pickles of Zenodo 4559324 (tev14_pythia8_{ttbar,qcd}_*.pkl.bz2, compressed or not),
the TFRecord shards of the TensorFlow data set delphes_pf (1.0.1 or 1.1.0), or folders of them. The
sets are written to OUT/ttbar and OUT/qcd. Files are untrusted: nothing in them is executed. Exit
status: 0 if all files were imported, 1 if one was not, 2 for wrong usage, 130 on Ctrl-C.
"""

import itertools
from collections.abc import Sequence
from pathlib import Path

from absl import flags

from mlpf_jax import cli, progress, runtime
from mlpf_jax.events import delphes, importing, source

_OUT = flags.DEFINE_string("out", None, "Folder to write the sets to.", required=True)
_PROCESS = flags.DEFINE_enum(
    "process", None, source.PROCESSES, "Process of all files. Default: from their names."
)
_MAX_MB = flags.DEFINE_integer(
    "max_mb",
    delphes.DEFAULT_MAX_BYTES // 10**6,
    "Refuse files with more than this many MB when decompressed.",
    lower_bound=1,
)
_WORKERS = flags.DEFINE_integer(
    "workers", None, "Number of files to read at once. Default: one per core.", lower_bound=1
)
_QUIET = flags.DEFINE_bool("quiet", False, "Print no progress.")


def main(argv: Sequence[str]) -> int:
    try:
        imported = _import(argv[1:])
    except OSError as error:
        return cli.complain(error, cli.FAILURE)
    except ValueError as error:
        return cli.complain(error, cli.USAGE)
    for name, events in imported.stores.items():
        print(
            f"{events.path}: {events.num_events} {name} events, {events.num_elements} elements, "
            f"{events.num_bytes / 1e9:.3f} GB, sha256 {events.digest()}"
        )
    print(imported.verdict, flush=True)
    for failure in imported.failures:
        cli.complain(failure, cli.FAILURE)
    return cli.FAILURE if imported.failures else 0


def _import(words: Sequence[str]) -> importing.Imported:
    if not words:
        raise ValueError("no files: give some, as in `mlpf-jax-import FILES... --out=DIR`.")
    paths = importing.find_files(words)
    teller = progress.Progress(quiet=_QUIET.value)
    with teller.stage("importing", len(paths)) as stage:
        done = itertools.count(1)
        return importing.import_files(
            paths,
            Path(_OUT.value),
            process=_PROCESS.value,
            max_bytes=_MAX_MB.value * 10**6,
            num_threads=_WORKERS.value or runtime.count_cores(),
            on_file=lambda path: stage.update(next(done), path.name),
        )


def run_app() -> None:
    """Runs the program."""
    cli.run(main, takes_files=True)


if __name__ == "__main__":
    run_app()
