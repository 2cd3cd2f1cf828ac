"""Sources of a side's runs: new processes, a baseline, or files of earlier runs."""

import contextlib
import dataclasses
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from mlpf_jax import processes
from mlpf_jax.compare import comparability, runs
from mlpf_jax.regress import costs
from mlpf_jax.report import copies, hepscore, reader
from mlpf_jax.sides import driver
from mlpf_jax.stats import turns

PACKAGE = "mlpf_jax"  # the folder of a checkout that the runs import
SIDE = "sides.member"  # benchmarks without this module are older, and cannot be sides
_CACHE_VARIABLE = "JAX_COMPILATION_CACHE_DIR"
# A process on a GPU takes three quarters of its memory at once, unless it is told otherwise.
_SHARE_OF_GPU = {"XLA_PYTHON_CLIENT_MEM_FRACTION": "0.4"}


@dataclasses.dataclass(frozen=True)
class Program:
    """The command and environment of a side's runs."""

    label: str
    folder: Path  # folder of the package to import
    python: Path
    arguments: tuple[str, ...]
    share: float = 0.0  # share of extra work

    def command(self, *, serves: bool) -> list[str]:
        """Returns the command without the folders of a run. -P prevents accidental imports."""
        module = [f"{PACKAGE}.{SIDE}", str(self.share)] if serves else [f"{PACKAGE}.main"]
        return [str(self.python), "-P", "-m", *module, *self.arguments]

    def environ(self, given: Mapping[str, str] = os.environ) -> dict[str, str]:
        """Returns its environment variables: its own folder has priority over an installed package.

        JAX's own cache variable is removed, because an older benchmark would measure cache reads.
        """
        kept = {name: value for name, value in given.items() if name != _CACHE_VARIABLE}
        return kept | {"PYTHONPATH": str(self.folder)}


def can_be_side(folder: Path) -> bool:
    """Whether the benchmark in a checkout can serve windows of its steps; older ones cannot."""
    return folder.joinpath(PACKAGE, *SIDE.split(".")).with_suffix(".py").is_file()


class Processes:
    """Runs as new processes, with files in a folder that the caller removes.

    With `caches`, runs after the first load programs from a cache that are not measured, and also
    the steps while `measures_compile` is false. Benchmarks that cannot be sides may know no cache.
    """

    most_runs: int | None = None  # no limit

    def __init__(self, program: Program, folder: Path, timeout_s: float, *, caches: bool):
        self.label, self.caches = program.label, caches
        self.why_whole: str | None = None
        if not can_be_side(program.folder):
            self.why_whole = f"{self.label} is older than the comparison in turns"
        self.reports: list[reader.Report] = []
        self.measures_compile = True
        self._program, self._folder, self._timeout_s = program, folder, timeout_s

    @property
    def first(self) -> reader.Report:
        """The report of the first run, if there is one."""
        return self.reports[0]

    def take(self) -> costs.RunMeasures:
        """Runs the program once, to its end.

        Raises:
            ValueError: if extra work is requested, which is done in windows alone.
            RunFailedError: if it fails, writes no valid report, or ran on different files than the
                first run.
        """
        if self._program.share:
            raise ValueError(f"{self.label}: a whole run cannot be slowed down: omit --inject.")
        results = self._new_folder()
        with processes.naming(self.label):
            processes.run(
                [*self._program.command(serves=False), *self._own_arguments(results)],
                folder=self._program.folder,
                environ=self._program.environ(),
                log=results / "log.txt",
                timeout_s=self._timeout_s,
            )
        return self._read(results)

    @contextlib.contextmanager
    def starting(self) -> Iterator[Callable[[], tuple[costs.RunMeasures, driver.Live]]]:
        """Starts the program, and gives what waits for its run.

        The program then stays alive within the block to run windows. Its run takes no samples of
        inference but one: the windows take their place.

        Raises:
            RunFailedError: as `take`, and if it breaks the protocol.
        """
        results = self._new_folder()
        side = driver.Side(
            name=self.label,
            command=[
                *self._program.command(serves=True),
                *self._own_arguments(results),
                "--num_infer_samples=1",
                "--hang_limit=0",  # it waits for the other side, and the driver has a limit for it
            ],
            folder=self._program.folder,
            environ=_SHARE_OF_GPU | self._program.environ(),
            log=results / "log.txt",
            limit_s=self._timeout_s,
        )
        with driver.starting(side) as wait:

            def wait_and_read() -> tuple[costs.RunMeasures, driver.Live]:
                live = wait()
                return self._read(results), live

            yield wait_and_read

    def _new_folder(self) -> Path:
        results = self._folder / f"run-{len(list(self._folder.glob('run-*')))}"
        results.mkdir(parents=True)
        return results

    def _own_arguments(self, results: Path) -> list[str]:
        own = ["--quiet", f"--results_dir={self._named(results)}"]
        own.append(f"--data_dir={self._named(self._folder / 'events')}")
        if self.caches:
            own.append(f"--compilation_cache={self._named(self._folder / 'programs')}")
            own += [] if self.measures_compile else ["--nomeasure_compile"]
        return own

    def _read(self, results: Path) -> costs.RunMeasures:
        """Reads the report of a run."""
        try:
            self.reports.append(reader.read(results / hepscore.FILE_NAME))
            run = costs.from_report(self.reports[-1])
        except (OSError, ValueError, KeyError) as error:
            raise processes.RunFailedError(f"{self.label}: no valid report: {error}") from None
        if self.reports[-1].bmk_checksum != self.first.bmk_checksum:
            raise processes.RunFailedError(f"{self.label}: its files changed between two runs")
        return run

    def _named(self, path: Path) -> str:
        """Returns a relative path, because the report contains the flags and may be published."""
        return os.path.relpath(path.resolve(), self._program.folder.resolve())


class Stored:
    """Earlier runs, in order."""

    def __init__(self, label: str, first: reader.Report, runs: Sequence[costs.RunMeasures]):
        self.label, self.first = label, first
        self.why_whole = f"{label} is of earlier runs"
        self.most_runs: int | None = len(runs)
        self._runs = runs
        self._num_taken = 0

    @property
    def spans(self) -> list[turns.Span]:
        """The time span of every run."""
        return [turns.Span(run.started_at, run.finished_at) for run in self._runs]

    @property
    def next_measures_compile(self) -> bool:
        """Whether the next run compiled its steps, and did not load them from a cache."""
        return self._runs[self._num_taken].measures_compile

    def take(self) -> costs.RunMeasures:
        """Returns the next run; the caller must know how many there are."""
        self._num_taken += 1
        return self._runs[self._num_taken - 1]


Source = Processes | Stored


def of_files(path: Path, seen: copies.Seen, tell: runs.Tell) -> Stored:
    """Returns the reports of a folder, or of one file, as a side, in order of time.

    `tell` gets a line for each file of a folder that is not a report.

    Raises:
        ValueError: if a file is not a report, all runs were seen before, or some are of another
            machine, code or work than the first, which represents all.
        OSError: if one cannot be read.
    """
    reports = runs.read_all([path], seen, tell)
    if not reports:
        raise ValueError(f"{path}: only the runs of the other side.")
    reports.sort(key=lambda report: report.stats["started_at"])
    first, *others = reports
    for report in others:
        if reason := _why_other(first, report):
            raise ValueError(f"{path}: runs of several kinds: {report.source} has {reason}.")
    return Stored(str(path), first, [costs.from_report(report) for report in reports])


def _why_other(a: reader.Report, b: reader.Report) -> str | None:
    """Returns why two runs are not of one side; None if they are."""
    if a.machine_class != b.machine_class:
        return f"another machine than {a.source}: {a.machine_class} -> {b.machine_class}"
    if a.code != b.code:
        return f"another code than {a.source}"
    refused = (one.text for one in comparability.between(a, b) if one.severity == "refused")
    return next((f"other work than {a.source}: {text}" for text in refused), None)
