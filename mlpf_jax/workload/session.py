"""One run of the workload: its folder, its events, its copies, its result."""

import contextlib
import dataclasses
import os
import shutil
import sys
import time
from collections.abc import Iterator, Mapping
from io import TextIOWrapper
from pathlib import Path
from typing import Any, TextIO

from mlpf_jax import atomic, processes
from mlpf_jax import config as config_lib
from mlpf_jax import progress as progress_lib
from mlpf_jax.events import source
from mlpf_jax.render import escaping
from mlpf_jax.report import hepscore
from mlpf_jax.workload import outcome, plan, together

_CACHE_VARIABLE = "JAX_COMPILATION_CACHE_DIR"
_INPUTS = "inputs.log"
_REPORT_BYTES = 4 * 2**20


@dataclasses.dataclass(frozen=True, kw_only=True)
class Job:
    """What to run, and how."""

    words: tuple[str, ...]  # the flags of each copy
    config: config_lib.RunConfig
    files: config_lib.FilesConfig
    shares: tuple[plan.Share, ...]  # of the copies
    remarks: tuple[str, ...]
    shows_logs: bool
    tidies: bool

    @property
    def threads(self) -> int:
        """Cores of each copy."""
        cores = self.shares[0].cores
        return len(os.sched_getaffinity(0) if cores is None else cores)


def results_folder(parent: Path, job: Job, is_direct: bool) -> Path:
    """Returns the folder for the results, which exists and can be written.

    Raises:
        ValueError: if it cannot.
    """
    name = f"mlpf-jax-bmk-c{len(job.shares)}-e{job.config.data.num_train_events}"
    folder = parent if is_direct else parent / f"{name}-{time.time_ns() // 10**6}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        atomic.try_writing(folder, _REPORT_BYTES)
    except OSError as error:
        raise ValueError(f"--resultsdir={parent}: {error.strerror}.") from None
    return folder


def run(job: Job, folder: Path) -> None:
    """Runs all copies and writes the summary into the folder; only a success leaves one.

    Raises:
        RunFailedError: if a copy fails.
        ValueError: if the events or a result cannot be used.
        OSError: if a file cannot be read or written.
    """
    stdout = _plain_stdout()
    progress = progress_lib.Progress(stream=stdout, bars=False)

    def say(text: str) -> None:
        progress.say(escaping.clean(text))

    with _alone(folder) as inputs, _summary_of_success(folder):
        for line in (*job.remarks, *_configuration(job)):
            say(line)
        inputs.write(_inputs(job))
        inputs.flush()
        _prepare_events(job, progress)
        copies = [_copy(job, folder, i) for i in range(len(job.shares))]
        try:
            spans = together.run(copies, say)
        except processes.RunFailedError as error:
            for line in () if job.shows_logs else error.last_lines:
                say(line)
            raise
        finally:
            places = [_place(folder, i) for i in range(len(copies))]
            for place in places:
                outcome.put_aside(place)
            for line in _of_logs(copies) if job.shows_logs else ():
                say(line)
        document = outcome.combine(places, spans)
        written = hepscore.write(document, folder)
        for line in (*outcome.lines(document), f"report: {written.path}"):
            say(line)
        if job.tidies:
            _tidy(copies, places)


def _plain_stdout() -> TextIOWrapper:
    """Returns standard output in UTF-8, line by line, as hep-score reads it."""
    stream = sys.stdout
    assert isinstance(stream, TextIOWrapper)
    stream.reconfigure(encoding="utf-8", errors="backslashreplace", line_buffering=True)
    return stream


@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[TextIO]:
    """Lets one run at a time use the folder; yields the file for what it was given.

    Raises:
        ValueError: if another run uses it.
    """
    if folder.stat().st_uid != os.geteuid():
        os.umask(0)  # the owner of the folder must be able to remove what is in its subfolders
    with (folder / _INPUTS).open("a", encoding="utf-8") as file:
        if not atomic.hold(file.fileno()):
            raise ValueError(f"{folder}: another run is writing into it.")
        file.truncate(0)
        yield file


@contextlib.contextmanager
def _summary_of_success(folder: Path) -> Iterator[None]:
    """Renames the summary of an earlier run, and after the block that of this one if it failed.

    A signal can come when the summary is already written.
    """
    path = folder / hepscore.FILE_NAME
    atomic.rename_to_its_time(path)
    try:
        yield
    except BaseException:
        atomic.rename_to_its_time(path)
        raise


def _configuration(job: Job) -> list[str]:
    """Returns the effective configuration, one part per line."""
    cores = " | ".join(
        "not bound" if share.cores is None else ",".join(map(str, share.cores))
        for share in job.shares
    )
    devices = [f"{k}={v}" for share in job.shares for k, v in share.environ.items()]
    parts = [
        f"copies={len(job.shares)} threads={job.threads} cores: {cores}",
        *([f"devices: {' | '.join(devices)}"] if devices else []),
        f"each copy: mlpf-jax {' '.join(job.words)}",
    ]
    flat: dict[str, Any] = {}
    for name, value in dataclasses.asdict(job.config).items():
        if isinstance(value, Mapping):
            parts.append(f"{name}: {_assignments(value)}")
        else:
            flat[name] = value
    if job.files.compilation_cache is None:
        cache = "compilation cache: off"
    else:
        cache = f"compilation cache: {job.files.compilation_cache}, so runs may start warm"
    return [*parts, f"run: {_assignments(flat)}", cache]


def _assignments(values: Mapping[str, Any]) -> str:
    return " ".join(f"{name}={value}" for name, value in values.items())


def _inputs(job: Job) -> str:
    """Returns the configuration as a file, with the names that hep-workloads gives it."""
    lines = (
        f"NCOPIES={len(job.shares)}",
        f"NTHREADS={job.threads}",
        f"NEVENTS_THREAD={job.config.data.num_train_events}",
        f"EXTRA_ARGS={' '.join(job.words)}",
        *(f"# {line}" for line in _configuration(job)),
    )
    return "\n".join(escaping.clean(line) for line in lines) + "\n"


def _prepare_events(job: Job, progress: progress_lib.Progress) -> None:
    """Simulates missing events, once for all copies."""
    data = job.config.data
    wanted = {"ttbar": data.num_train_events} if job.config.mode != "infer" else {}
    for process, number in {**wanted, "qcd": data.num_test_events}.items():
        with progress.stage(f"simulating {process}", number) as stage:
            source.open_events(
                process,
                number,
                data_dir=job.files.data_dir or source.default_data_dir(),
                data_seed=data.data_seed,
                bank=job.files.bank,
                on_progress=lambda done, total, stage=stage: stage.update(done, total=total),
            )


def _place(folder: Path, index: int) -> Path:
    return folder / f"proc_{index + 1}"


def _copy(job: Job, folder: Path, index: int) -> together.Copy:
    place, share = _place(folder, index), job.shares[index]
    place.mkdir(exist_ok=True)
    outcome.clear(place)
    # Not from the surroundings: /tmp, which repetitions share, must not make later ones faster.
    environ = {k: v for k, v in os.environ.items() if k != _CACHE_VARIABLE}
    return together.Copy(
        number=index + 1,
        arguments=(*job.words, f"--results_dir={place}", *["--debug"] * job.shows_logs),
        cores=share.cores,
        environ={**environ, **share.environ},
        log=folder / f"out_{index + 1}.log",
    )


def _of_logs(copies: list[together.Copy]) -> Iterator[str]:
    for copy in copies:
        if copy.log.exists():
            with copy.log.open(encoding="utf-8", errors="replace") as file:
                yield from (f"copy {copy.number}: {line}" for line in file)


def _tidy(copies: list[together.Copy], places: list[Path]) -> None:
    for copy, place in zip(copies, places, strict=True):
        copy.log.unlink(missing_ok=True)
        shutil.rmtree(place, ignore_errors=True)
