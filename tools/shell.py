"""How a tool starts and ends: its flags, one clear line for what went wrong, an exit status."""

import sys
from collections.abc import Callable
from typing import NoReturn

from absl import app, flags

from mlpf_jax.events import manifest


def run(main: Callable[[list[str]], int]) -> NoReturn:
    """Parses the flags, wherever they stand, and exits with what `main` makes of the other words.

    Exit status: that of `main`; 2 if the flags are wrong or `main` raises ValueError, for the user
    asked for what cannot be; 1 if it raises OSError or finds damaged events; 130 if interrupted.
    """
    app.define_help_flags()
    flags.FLAGS.set_gnu_getopt(True)
    try:
        words = flags.FLAGS(sys.argv)[1:]
    except flags.Error as error:
        _end(2, error)
    except SystemExit:  # --help
        sys.exit(0)
    try:
        status = main(words)
    except (OSError, manifest.DamagedError) as error:
        _end(1, error)
    except ValueError as error:
        _end(2, error)
    except KeyboardInterrupt:
        _end(130, "interrupted.")
    sys.exit(status)


def _end(status: int, why: object) -> NoReturn:
    print(f"error: {' '.join(str(why).split())}", file=sys.stderr)
    sys.exit(status)
