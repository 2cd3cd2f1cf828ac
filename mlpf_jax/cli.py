"""How every program of this project starts and ends: wrong usage is one line and exit status 2."""

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Callable, Sequence
from typing import NoReturn

from absl import flags, logging

from mlpf_jax import arguments

USAGE, FAILURE, INTERRUPTED = 2, 1, 130
_HELP = {"--help", "-help", "-h", "-?", "--helpfull", "--helpshort"}
_INSIST_S = 3.0  # longer than cleaning up takes


def run(
    main: Callable[[Sequence[str]], int | None],
    *,
    takes_files: bool = False,
    values: flags.FlagValues = flags.FLAGS,
) -> NoReturn:
    """Parses the flags into `values` and runs `main`, whose return value is the exit status.

    `main` is given the words that are no flags, after the program's name. `--help` prints the
    docstring of its module and the flags: those that the module defines, or all of `values`.
    """
    try:
        argv = _parse(main, values)
    except (flags.Error, OSError, ValueError) as error:
        sys.exit(complain(error, USAGE))
    if len(argv) > 1 and not takes_files:
        stray = " ".join(argv[1:])
        sys.exit(complain(f"stray argument: {stray}. Settings are written --name=value.", USAGE))
    logging.set_verbosity(logging.WARNING)
    try:
        status = main(argv)
    except KeyboardInterrupt:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        status = complain("interrupted: nothing half-written was left behind.", INTERRUPTED)
        with contextlib.suppress(OSError):  # nobody reads any more
            sys.stdout.flush()
            sys.stderr.flush()
        # Everything has been cleaned up on the way here. Python's own end would take down what XLA
        # still compiles on, and crash.
        os._exit(status)
    sys.exit(status)


def _parse(main: Callable, values: flags.FlagValues) -> list[str]:
    """Returns the program's name and the words that are no flags; prints help if it is asked."""
    own = sys.argv[1 : sys.argv.index("--")] if "--" in sys.argv else sys.argv[1:]
    if _HELP & set(own):
        print(help_text(main, values))
        sys.exit(0)
    values.set_gnu_getopt()  # flags may follow files
    flags.FLAGS.mark_as_parsed()  # libraries ask it for their own
    return values([sys.argv[0], *arguments.expand(sys.argv[1:])])


def help_text(main: Callable, values: flags.FlagValues) -> str:
    """Returns the docstring of `main`'s module and its flags, in groups if `values` has some."""
    module = sys.modules[getattr(main, "func", main).__module__]
    groups = values.flags_by_module_dict()
    if values is flags.FLAGS:
        groups = {"Flags": values.get_flags_for_module(module)}
    lines = [(module.__doc__ or "").strip()]
    for heading, members in groups.items():
        lines += ["", f"{heading}:"]
        lines += [_flag_help(flag) for flag in members]
    return "\n".join([*lines, "", "  --flagfile: Reads flags from a file, one in each line.", ""])


def _flag_help(flag: flags.Flag) -> str:
    name = f"--[no]{flag.name}" if flag.boolean else f"--{flag.name}"
    short = f"-{flag.short_name}, " if flag.short_name else ""
    shown = (flag.default_as_str or "").strip("'")
    text = f"{short}{name}: {flag.help}" + (f" Default: {shown}." if shown else "")
    return flags.text_wrap(text, length=100, indent="      ", firstline_indent="  ")


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
