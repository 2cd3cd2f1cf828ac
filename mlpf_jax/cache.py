"""The default folders for data that is kept between runs."""

import os
from pathlib import Path


def default_folder(name: str, way_out: str) -> Path:
    """Returns $XDG_CACHE_HOME/mlpf_jax/`name`, or ~/.cache/mlpf_jax/`name` by default.

    Raises:
        ValueError: if there is no home folder; the message ends with `way_out`, the alternative.
    """
    cache = os.environ.get("XDG_CACHE_HOME")
    try:
        root = Path(cache) if cache and Path(cache).is_absolute() else Path.home() / ".cache"
    except RuntimeError:  # neither HOME nor a passwd entry for this user
        raise ValueError(
            f"no home folder for {name}: set HOME or XDG_CACHE_HOME, or {way_out}."
        ) from None
    return root / "mlpf_jax" / name
