"""Start and end of every program of this project: every error is reported in one line.

Wrong usage exits with status 2. The traceback of an unexpected error is written to a file, or
printed with --debug.
"""

import contextlib
import functools
import math
import os
import signal
import sys
import tempfile
import traceback
from collections.abc import Callable, Sequence
from typing import NoReturn

try:
    from absl import flags, logging
except ModuleNotFoundError:
    sys.exit(f"error: the module absl is missing: {sys.executable} -m pip install absl-py")

from mlpf_jax import arguments, errors, streams

USAGE, FAILURE, INTERRUPTED = 2, 1, 130
_REPEATED = ";\n    repeat this option to specify a list of values"  # what absl adds to a help
_HELP = {"--help", "-help", "-h", "-?", "--helpfull", "--helpshort"}
_DEBUG = {"--debug", "-debug"}


def run(
    main: Callable[[Sequence[str]], int | None],
    *,
    takes_files: bool = False,
    values: flags.FlagValues = flags.FLAGS,
    crash_status: int = FAILURE,
) -> NoReturn:
    """Parses the flags into `values` and runs `main`, whose return value is the exit status.

    `main` gets the program's name and the words that are not flags. `--help` prints the docstring
    of its module and the flags: those that the module defines, or all of `values`. Errors that
    `main` does not handle exit with `crash_status`.
    """
    streams.prepare()
    try:
        status = _run(main, takes_files, values)
    except KeyboardInterrupt as error:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        reason = str(error) or "interrupted: no partial files were left."
        status = complain(reason, getattr(error, "status", INTERRUPTED))
        with contextlib.suppress(OSError):  # stderr is closed
            sys.stdout.flush()
            sys.stderr.flush()
        # Cleanup is complete. A normal exit of Python would destroy objects that XLA's compiler
        # threads still use, and crash.
        os._exit(status)
    except BrokenPipeError as error:
        status = complain(error, crash_status)
    except ModuleNotFoundError as error:
        lacking = _missing(error)
        status = complain(lacking, crash_status) if lacking else _crash(error, crash_status)
    except MemoryError as error:
        status = complain(f"out of memory on this machine: {errors.one_line(error)}", crash_status)
    except Exception as error:  # noqa: BLE001 - there is nobody above to handle it
        status = _crash(error, crash_status)
    if problem := streams.flush():
        status = complain(problem, status or crash_status)
    sys.exit(status)


def run_with_settings(main: Callable, *, takes_files: bool = False) -> None:
    """Runs main(settings, argv) as `run` does; `settings` are the arguments after `--`."""
    place = sys.argv.index("--") if "--" in sys.argv else len(sys.argv)
    sys.argv, settings = sys.argv[:place], sys.argv[place + 1 :]
    run(functools.partial(main, settings), takes_files=takes_files)


def _run(main: Callable, takes_files: bool, values: flags.FlagValues) -> int | None:
    if _HELP & set(_own_words()):
        print(help_text(main, values))
        return 0
    try:
        argv = _parse(values)
    except (flags.Error, OSError, ValueError) as error:
        return complain(error, USAGE)
    if len(argv) > 1 and not takes_files:
        stray = " ".join(argv[1:])
        return complain(f"stray argument: {stray}. Write settings as --name=value.", USAGE)
    logging.set_verbosity(logging.WARNING)
    return main(argv)


def _parse(values: flags.FlagValues) -> list[str]:
    """Returns the program's name and the words that are not flags."""
    own = _own_words()
    values.set_gnu_getopt()  # flags may follow files
    flags.FLAGS.mark_as_parsed()  # libraries read their flags from it
    kept = [word for word in own if "debug" in values or word not in _DEBUG]
    argv = values([sys.argv[0], *arguments.expand([*kept, *sys.argv[1 + len(own) :]])])
    for name in values:
        _check_value(name, values[name].value)
    return argv


def _check_value(name: str, value: object) -> None:
    """Refuses a value that no flag of ours can mean.

    Raises:
        ValueError: if it is too large an integer, NaN, or the flag after a missing value.
    """
    if isinstance(value, int) and not -(2**63) <= value < 2**63:
        raise ValueError(f"--{name}={value}: has more than 64 bits.")
    if isinstance(value, float) and math.isnan(value):
        raise ValueError(f"--{name}=nan: must be a number.")
    if isinstance(value, str | os.PathLike) and os.fspath(value).startswith("--"):
        raise ValueError(f"--{name}: needs a value, but {os.fspath(value)} follows.")


def _own_words() -> list[str]:
    """Returns the words before `--`; words after it are not our flags."""
    return sys.argv[1 : sys.argv.index("--")] if "--" in sys.argv else sys.argv[1:]


def _crash(error: Exception, status: int) -> int:
    """Reports an unexpected error in one line, with the path of its traceback."""
    kind, line = type(error).__name__, errors.one_line(error)
    text = f"unexpected: {line if line == kind else f'{kind}: {line}'}"
    told = "".join(traceback.format_exception(error))
    path = None if _DEBUG & set(_own_words()) else _keep(told)
    if path is None:
        sys.stderr.write(told)
        return complain(text, status)
    return complain(f"{text} (traceback: {path}, or here with --debug)", status)


def _keep(text: str) -> str | None:
    """Writes a new file that only its owner can read; returns its path, or None on failure."""
    path = None
    try:
        descriptor, path = tempfile.mkstemp(prefix="mlpf-jax-traceback-", suffix=".txt")
        with open(descriptor, "w", encoding="utf-8", errors="backslashreplace") as file:
            file.write(text)
    except OSError:  # no folder or no space
        if path is not None:
            os.unlink(path)
        return None
    return path


def help_text(main: Callable, values: flags.FlagValues) -> str:
    """Returns the docstring of `main`'s module and its flags, in groups if `values` has some."""
    module = sys.modules[getattr(main, "func", main).__module__]
    groups = values.flags_by_module_dict()
    if values is flags.FLAGS:
        groups = {"Flags": values.get_flags_for_module(module)}
    lines = [(module.__doc__ or "").strip()]
    for heading, members in groups.items():
        if members:  # a program may have removed them
            lines += ["", f"{heading}:", *map(_flag_help, members)]
    lines += ["", "  --flagfile: Reads flags from a file, one per line."]
    lines += ["  --debug: Shows the traceback of unexpected errors.", ""]
    return "\n".join(lines)


def _flag_help(flag: flags.Flag) -> str:
    name = f"--[no]{flag.name}" if flag.boolean else f"--{flag.name}"
    short = f"-{flag.short_name}, " if flag.short_name else ""
    shown = (flag.default_as_str or "").strip("'")
    if isinstance(flag, flags.MultiFlag):
        shown = ", ".join(map(str, flag.default or ()))
    said = (flag.help or "").replace(_REPEATED, " May be given several times.")
    text = f"{short}{name}: {said}" + (f" Default: {shown}." if shown else "")
    columns = streams.width(sys.stdout, 100)
    return flags.text_wrap(text, length=columns, indent="      ", firstline_indent="  ")


def _missing(error: ModuleNotFoundError) -> str | None:
    """Returns which module is to be installed; None if it is one of ours."""
    name = (error.name or "").partition(".")[0]
    if name in ("", __package__):
        return None
    return f"the module {name} is missing: {sys.executable} -m pip install {name}"


def complain(reason: str | BaseException, status: int) -> int:
    """Writes an error or message to stderr in one line and returns the exit status.

    A broken pipe is not reported: its reader closed it on purpose.
    """
    if isinstance(reason, BrokenPipeError):
        return status
    text = reason if isinstance(reason, str) else errors.one_line(reason)
    with contextlib.suppress(OSError):  # it cannot be said
        print(f"error: {streams.line(text)}", file=sys.stderr, flush=True)
    return status


def tell(text: str) -> None:
    """Writes a remark to stderr in one line."""
    print(streams.line(text), file=sys.stderr)
