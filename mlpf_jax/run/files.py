"""Looks at the files and folders of a run before it starts: hours later it would be too late."""

import os
from pathlib import Path

from mlpf_jax import config as config_lib
from mlpf_jax.events import source

CACHE_VARIABLE = "JAX_COMPILATION_CACHE_DIR"  # JAX's own way to name a compilation cache


def has_cache(files: config_lib.FilesConfig) -> bool:
    """Returns whether JAX keeps what it compiles, by our flag or by its own variable."""
    return bool(files.compilation_cache or os.environ.get(CACHE_VARIABLE))


def data_dir(files: config_lib.FilesConfig) -> Path:
    """Returns the folder of the events.

    Raises:
        ValueError: if none is named, and there is no home folder to keep them in.
    """
    return files.data_dir or source.default_data_dir()


def prepare(files: config_lib.FilesConfig, *, infers_only: bool) -> None:
    """Makes the folders to write to, and looks for what is to be read.

    Raises:
        ValueError: if a file or folder cannot be used; it names the flag.
    """
    data_dir(files)
    for flag in ("results_dir", "compilation_cache", "profile"):
        folder = getattr(files, flag)
        if folder is not None:
            _make_folder(flag, folder)
    checkpoint = files.checkpoint
    if checkpoint and checkpoint.exists() != infers_only:
        raise ValueError(
            f"--checkpoint={checkpoint}: there is none to infer with."
            if infers_only
            else f"--checkpoint={checkpoint}: exists already and is not overwritten."
        )
    if files.bank is not None and not files.bank.is_file():
        raise ValueError(f"--bank={files.bank}: no such file.")


def _make_folder(flag: str, folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ValueError(f"--{flag}={folder}: {error.strerror}.") from None
    if not os.access(folder, os.W_OK):
        raise ValueError(f"--{flag}={folder}: cannot be written to.")
