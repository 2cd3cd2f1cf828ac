"""The presets, as an installed package has them. In a checkout they are links into `flags/`."""

from pathlib import Path

_FOLDER = Path(__file__).parent
NAMES = tuple(sorted(path.stem for path in _FOLDER.glob("*.cfg")))


def find(name: str) -> Path:
    """Returns the flag file of a preset: one of `NAMES`, or the path of a file.

    Raises:
        ValueError: if there is neither.
    """
    if name in NAMES:
        return _FOLDER / f"{name}.cfg"
    if not Path(name).is_file():
        raise ValueError(f"--preset={name}: no file, and none of {', '.join(NAMES)}.")
    return Path(name)
