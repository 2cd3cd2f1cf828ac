"""Runs the benchmark as a workload of HEPscore: copies side by side, their results summed.

    mlpf-jax-bmk -W --copies 2 --threads 1
    mlpf-jax-bmk -W --preset hepscore -M gpu --devices 0-3

It takes the options of hep-workloads, and every setting of the benchmark with - or _ in its name.
By default, it runs the preset site, with one copy for each core of a CPU, or one copy on all
accelerators. Exit status: 0 success, 1 the run failed and left no summary, 2 wrong usage, 130
interrupted, 143 terminated by SIGTERM or SIGHUP.
"""

import dataclasses
import functools
import os
import re
import shlex
import sys
import typing
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from absl import flags

from mlpf_jax import cli, options, processes, settings
from mlpf_jax import config as config_lib
from mlpf_jax.measure import accelerators, slot
from mlpf_jax.workload import cores as cores_lib
from mlpf_jax.workload import plan, session

_GROUP = "Options of hep-workloads"
_DEFAULT_PRESET = "site"
# Of the settings of files and hosts, those that a workload has; it sets the others itself.
_KEPT = {"data_dir", "bank", "verify_data", "compilation_cache"}
# A launcher may have started several workloads, one on each machine: their copies must not become
# the processes of one run.
_ALONE = "--distributed=off"


def _define() -> flags.FlagValues:
    """Returns the flags of a run, without most of files and hosts, and those of hep-workloads."""
    values = options.define()
    for config in (config_lib.FilesConfig, config_lib.HostsConfig):
        for name, said in settings.settings_of(config).items():
            if name not in _KEPT:
                delattr(values, said.flag or name)
    delattr(values, "platform")
    add = functools.partial(_add, values)
    add(flags.DEFINE_bool, "W", "direct", False, "Write into --resultsdir itself.")
    add(flags.DEFINE_string, "w", "resultsdir", "/results", "Folder for results.")
    for short, name, text in (
        ("c", "copies", "Number of copies. Default: one for each --threads; 1 on accelerators."),
        ("t", "threads", "Cores of each copy. Default: 1 on a CPU, unless --copies is given."),
        ("e", "events", "Training events of each copy; an epoch is a pass over them."),
        ("n", "ncores", "Most cores to use. Default: all that this process may use."),
    ):
        add(flags.DEFINE_integer, short, name, None, text, lower_bound=1)
    add(flags.DEFINE_enum, "m", "mop", "none", ["none", "all"], "Remove the copies' files, or not.")
    add(flags.DEFINE_bool, "d", "debug", False, "Print the logs of all copies, and tracebacks.")
    platforms = typing.get_args(config_lib.Platform)
    text = "Where to run. auto: on the accelerators that the installation is for."
    add(flags.DEFINE_enum, "M", "platform", "auto", platforms, text)
    text = "Accelerators to use, such as 0-3 or 0_2. Default: all."
    add(flags.DEFINE_string, None, "devices", None, text)
    add(flags.DEFINE_string, None, "extra_args", None, "More options, in one string.")
    return values


def _add(
    values: flags.FlagValues, define: Callable, short: str | None, *words: Any, **options: Any
) -> None:
    define(*words, short_name=short, flag_values=values, module_name=_GROUP, **options)


_FLAGS = _define()


def _value(name: str) -> Any:
    return _FLAGS[name].value


def main(argv: Sequence[str]) -> int:
    """Runs the copies and writes the summary."""
    del argv  # no arguments are left
    try:
        job = _job()
        folder = session.results_folder(_parent(), job, _value("direct"))
    except (ValueError, OSError, flags.Error) as error:
        return cli.complain(error, cli.USAGE)
    try:
        with processes.interrupted_by_terminate():
            session.run(job, folder)
    except KeyboardInterrupt as interrupt:
        status = getattr(interrupt, "status", cli.INTERRUPTED)
        return cli.complain("interrupted: the copies were ended, without a result.", status)
    except (ValueError, OSError, RuntimeError) as error:
        return cli.complain(error, cli.FAILURE)
    return 0


def _parent() -> Path:
    """Returns the folder for results.

    It is absolute, because a copy would take `~` at the start of a name for a home folder.
    """
    name = _value("resultsdir")
    if not name:
        raise ValueError("--resultsdir: give a folder.")
    return Path(name).absolute()


def _with_extra(words: Sequence[str]) -> list[str]:
    """Returns the words, with the string of --extra-args replaced by the words in it.

    Raises:
        ValueError: if there is no string, or a quotation in it is not closed.
    """
    found: list[str] = []
    left = iter(words)
    for word in left:
        name, equals, value = word.partition("=")
        if name.replace("_", "-") != "--extra-args":
            found.append(word)
            continue
        try:
            found += shlex.split(value if equals else next(left))
        except StopIteration:
            raise ValueError("--extra-args: give a string of options.") from None
        except ValueError as error:
            raise ValueError(f"--extra-args: {error}.") from None
    return found


def _job() -> session.Job:
    """Returns what is to be run.

    Raises:
        ValueError: if it is impossible here.
    """
    if _value("extra_args") is not None:  # `_with_extra` has not seen it
        raise ValueError("--extra-args: write it on the command line itself, with two dashes.")
    present = accelerators.present()
    platform, remark = plan.platform(_value("platform"), present, accelerators.plugins())
    words = [f"--platform={platform}", _ALONE, *_run_words()]
    request = _read(words)
    if platform == "cpu" and "num_devices" not in request.given:
        words.append("--num_devices=1")
        request = _read(words)
    wish = plan.Wish(**{field.name: _value(field.name) for field in dataclasses.fields(plan.Wish)})
    return session.Job(
        words=tuple(words),
        config=request.check(),
        files=request.files,
        shares=tuple(_shares(wish, platform, present)),
        remarks=tuple(filter(None, [remark])),
        shows_logs=_value("debug"),
        tidies=_value("mop") == "all",
    )


def _run_words() -> list[str]:
    """Returns the flags of a run that were given, or follow from those of hep-workloads.

    Raises:
        ValueError: if the number of events is given twice.
    """
    names = set(options.define()) & set(_FLAGS) - {"platform"}
    given = {name: _value(name) for name in sorted(names) if _value(name) is not None}
    given.setdefault("preset", _DEFAULT_PRESET)
    if _value("events") is not None:
        if "num_train_events" in given:
            raise ValueError("--events and --num_train_events are the same: give one.")
        given |= {"num_train_events": _value("events")}
        given.setdefault("steps_per_epoch", 0)
    return [f"--{name}={value}" for name, value in given.items()]


def _read(words: Sequence[str]) -> options.Request:
    parsed = options.define()
    parsed([sys.argv[0], *words])
    return options.read(parsed)


def _shares(wish: plan.Wish, platform: str, present: Sequence[str]) -> list[plan.Share]:
    given = slot.read()
    if given.allowed_cores is None:
        raise ValueError("this system does not tell which cores a process may use.")
    cores = cores_lib.locate(given.allowed_cores)
    if platform == "cpu":
        return plan.on_cpu(wish, cores, given.num_cores, slot.free_memory_bytes())
    kind = next((kind for kind in present if (kind == "TPU") == (platform == "tpu")), None)
    if kind is None:
        raise ValueError(f"--platform={platform}: there is no such device here.")
    number = len(list(Path("/dev").glob("nvidia[0-9]*")))
    visible = plan.visible_devices(kind, os.environ, number)
    return plan.on_accelerators(wish, kind, visible, cores)


def run_app() -> None:
    """Runs the program."""
    try:
        words = _with_extra(sys.argv[1:])
        # absl does not know `-c2`.
        sys.argv[1:] = [re.sub(r"^-([cten])(\d+)$", r"-\1=\2", word) for word in words]
    except ValueError as error:
        sys.exit(cli.complain(error, cli.USAGE))
    cli.run(main, values=_FLAGS)


if __name__ == "__main__":
    run_app()
