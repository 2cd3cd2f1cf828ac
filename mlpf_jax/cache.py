"""Where things are kept between runs if a user names no place."""

import os
from pathlib import Path


def default_folder(name: str, way_out: str) -> Path:
    """Returns $XDG_CACHE_HOME/mlpf_jax/`name`, or that in ~/.cache if the variable is not set.

    Raises:
        ValueError: if there is no home folder either; it ends in `way_out`, what else to do.
    """
    cache = os.environ.get("XDG_CACHE_HOME")
    try:
        root = Path(cache) if cache and Path(cache).is_absolute() else Path.home() / ".cache"
    except RuntimeError:  # neither HOME nor an entry for this user
        raise ValueError(
            f"no home folder to keep {name} in: set HOME or XDG_CACHE_HOME, or {way_out}."
        ) from None
    return root / "mlpf_jax" / name
