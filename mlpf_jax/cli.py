"""How every program of this project starts and ends: wrong usage is one line and exit status 2."""

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Callable, Sequence
from typing import NoReturn

from absl import app, flags, logging

USAGE, FAILURE, INTERRUPTED = 2, 1, 130
_INSIST_S = 3.0  # longer than cleaning up takes


def run(main: Callable[[Sequence[str]], int | None], *, takes_files: bool = False) -> NoReturn:
    """Parses the flags and runs `main`, whose return value is the exit status.

    `--num-devices` is taken as `--num_devices`: HEPscore's configurations prefer dashes.
    """
    app.define_help_flags()
    flags.FLAGS.set_gnu_getopt()  # flags may follow files
    try:
        argv = flags.FLAGS([_with_underscores(argument) for argument in sys.argv])
    except (flags.Error, OSError) as error:
        sys.exit(complain(error, USAGE))
    if len(argv) > 1 and not takes_files:
        stray = " ".join(argv[1:])
        sys.exit(complain(f"stray argument: {stray}. Settings are written --name=value.", USAGE))
    logging.set_verbosity(logging.WARNING)
    try:
        app.run(main, argv=argv)
    except KeyboardInterrupt:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        status = complain("interrupted: nothing half-written was left behind.", INTERRUPTED)
        with contextlib.suppress(OSError):  # nobody reads any more
            sys.stdout.flush()
            sys.stderr.flush()
        # Everything has been cleaned up on the way here. Python's own end would take down what XLA
        # still compiles on, and crash.
        os._exit(status)
    sys.exit(0)


def insist_on_interrupts() -> None:
    """Lets Ctrl-C raise KeyboardInterrupt again and again until it arrives.

    JAX now and then loses an exception that a signal raises inside of it; the run would go on.
    Where Python tells of the loss, no traceback is shown: the interrupt comes again. A program that
    was told to ignore Ctrl-C, as a shell tells those in the background, still does.
    """
    if signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        return

    main_thread = threading.get_ident()  # no other may set a handler

    def interrupt(number: int, frame: object) -> NoReturn:
        # To the main thread itself: only so does it wake up from a wait.
        again = threading.Timer(_INSIST_S, signal.pthread_kill, [main_thread, signal.SIGINT])
        again.daemon = True
        again.start()
        raise KeyboardInterrupt

    def tell_unless_interrupt(unraisable: "sys.UnraisableHookArgs") -> None:
        if not issubclass(unraisable.exc_type, KeyboardInterrupt):
            sys.__unraisablehook__(unraisable)

    signal.signal(signal.SIGINT, interrupt)
    sys.unraisablehook = tell_unless_interrupt


def complain(reason: str | BaseException, status: int) -> int:
    """Writes what is wrong to stderr, an error as one line, and returns the exit status."""
    text = reason if isinstance(reason, str) else one_line(reason)
    print(f"error: {text}", file=sys.stderr)
    return status


def one_line(error: BaseException) -> str:
    """Returns what an error says: the first line of it, or the file and what happened to it."""
    if isinstance(error, OSError) and error.filename is not None and error.strerror:
        return f"{error.filename}: {error.strerror}."
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__


def _with_underscores(argument: str) -> str:
    if not argument.startswith("--"):
        return argument
    name, equals, value = argument.partition("=")
    return "--" + name[2:].replace("-", "_") + equals + value
