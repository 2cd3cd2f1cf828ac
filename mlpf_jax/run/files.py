"""Checks the files and folders of a run before it starts, so that it does not fail hours later."""

import os
from pathlib import Path

from mlpf_jax import atomic
from mlpf_jax import config as config_lib
from mlpf_jax.events import source

# Rough upper limits of what a long run writes: its report, the compressed weights, a trace.
_BYTES = {
    "results_dir": 4 * 2**20,
    "compilation_cache": 2**20,
    "checkpoint": 16 * 2**20,
    "checkpoint_dir": 128 * 2**20,
    "profile": 4 * 2**20,
}
CACHE_VARIABLE = "JAX_COMPILATION_CACHE_DIR"  # JAX's own variable for a compilation cache


def has_cache(files: config_lib.FilesConfig) -> bool:
    """Returns whether JAX has a compilation cache, by our flag or by its own variable."""
    return bool(files.compilation_cache or os.environ.get(CACHE_VARIABLE))


def data_dir(files: config_lib.FilesConfig) -> Path:
    """Returns the folder of the events.

    Raises:
        ValueError: if none is given, and there is no home folder.
    """
    return files.data_dir or source.default_data_dir()


def prepare(files: config_lib.FilesConfig, *, infers_only: bool) -> None:
    """Creates the output folders, and checks that input files exist.

    Raises:
        ValueError: if a file or folder cannot be used; it names the flag.
    """
    data_dir(files)
    if files.checkpoint_dir is not None and infers_only:
        raise ValueError(
            f"--checkpoint_dir={files.checkpoint_dir}: keeps training, and --mode=infer does not "
            "train. --checkpoint=FOLDER reads weights."
        )
    for flag, num_bytes in _BYTES.items():
        path = getattr(files, flag)
        if path is None or files.fit:
            continue
        if flag != "checkpoint":
            _try_writing(f"--{flag}={path}", path, num_bytes)
        elif os.path.exists(path) != infers_only:
            raise ValueError(
                f"--checkpoint={path}: does not exist, but inference needs its weights."
                if infers_only
                else f"--checkpoint={path}: exists already and is not overwritten."
            )
        elif not infers_only:
            _try_writing(f"--checkpoint={path}", path.parent, num_bytes)
    if files.mllog is not None:
        if infers_only:
            raise ValueError(
                f"--mllog={files.mllog}: is a log of training; leave --mode=infer out."
            )
        if files.mllog.is_dir():
            raise ValueError(f"--mllog={files.mllog}: is a folder; give a file.")
        _try_writing(f"--mllog={files.mllog}", files.mllog.parent, _BYTES["results_dir"])
    if files.bank is not None and not files.bank.is_file():
        raise ValueError(f"--bank={files.bank}: no such file.")


def _try_writing(what: str, folder: Path, num_bytes: int) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        atomic.try_writing(folder, num_bytes)
    except OSError as error:
        raise ValueError(f"{what}: {error.strerror}.") from None
