"""Where a side's runs come from: fresh processes, a baseline, or files of earlier runs."""

import contextlib
import dataclasses
import json
import os
import re
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path

from mlpf_jax import processes
from mlpf_jax.regress import baseline, checkouts, costs
from mlpf_jax.regress import yardstick as driver
from mlpf_jax.report import copies, hepscore, reader
from mlpf_jax.stats import turns

PACKAGE = "mlpf_jax"  # the folder of a checkout that its runs import
_DRIVER = Path(driver.__file__)
_CACHE_VARIABLE = "JAX_COMPILATION_CACHE_DIR"


@dataclasses.dataclass(frozen=True)
class Program:
    """How a side is run."""

    label: str
    folder: Path  # whose package is imported
    python: Path
    arguments: tuple[str, ...]
    share: float = 0.0  # of extra work

    @property
    def can_be_driven(self) -> bool:
        """Whether the benchmark has what the driver patches: an older one may not."""
        return driver.missing(self.folder / PACKAGE) is None

    def command(self, yardstick: Path | None) -> list[str]:
        """Returns the command without the folders of a run. -P: no module is found by luck.

        The driver writes `yardstick`; without, the benchmark is run as it is.
        """
        start = [str(self.python), "-P"]
        if yardstick is None:
            return [*start, "-m", "mlpf_jax.main", *self.arguments]
        return [*start, str(_DRIVER), str(self.share), str(yardstick), *self.arguments]

    def environ(self, given: Mapping[str, str] = os.environ) -> dict[str, str]:
        """Returns the variables it runs with: its own folder before an installed package.

        JAX is told of no cache: an older benchmark would measure how fast it is read.
        """
        kept = {name: value for name, value in given.items() if name != _CACHE_VARIABLE}
        return kept | {"PYTHONPATH": str(self.folder)}

    def known_flags(self, log: Path, timeout_s: float) -> frozenset[str]:
        """Returns the flags that its help tells of: an older one has fewer."""
        command = [str(self.python), "-P", "-m", "mlpf_jax.main", "--help"]
        with contextlib.suppress(processes.RunFailedError):  # help ends with status 1
            processes.run(
                command, folder=self.folder, environ=self.environ(), log=log, timeout_s=timeout_s
            )
        told = log.read_text(encoding="utf-8", errors="replace")
        return frozenset(re.findall(r"^ *-?-(?:\[no\])?(\w+):", told, re.MULTILINE))


def check_can_be_slowed(checkout: checkouts.Checkout, flag: str) -> None:
    """Refuses a commit, named by `flag`, into whose benchmark no work can be injected.

    Raises:
        ValueError: one line that says what it lacks, and the way out.
    """
    if lacking := driver.missing(checkout.folder / PACKAGE):
        raise ValueError(
            f"{checkout.label} has no mlpf_jax.{lacking}, which --inject slows down: leave "
            f"--inject out, or name a commit that has it, {flag}=."
        )


class Processes:
    """Every run is a fresh process. Its files lie in a folder that the caller removes.

    Of the caches it uses those whose flags are in `known`: the runs after the first take from there
    what they compile without measuring it, and while `measures_compile` is false the steps as well,
    if they can.
    It `drives` the benchmark, if both sides can be: with a yardstick.
    """

    most_runs: int | None = None  # no limit

    def __init__(
        self,
        program: Program,
        folder: Path,
        timeout_s: float,
        known: frozenset[str] = frozenset(),
        *,
        drives: bool = False,
    ):
        self.reports: list[reader.Report] = []
        self.runs: list[costs.RunMeasures] = []
        self.measures_compile = True
        self._drives = drives
        self._program = program
        self._folder = folder
        self._timeout_s = timeout_s
        self._caches = "compilation_cache" in known
        self.can_reuse_steps = self._caches and "measure_compile" in known

    @property
    def label(self) -> str:
        """What the program's label says."""
        return self._program.label

    @property
    def first(self) -> reader.Report:
        """The report of the first run, once there is one."""
        return self.reports[0]

    def take(self) -> costs.RunMeasures:
        """Runs the program once.

        Raises:
            RunFailedError: if it fails, leaves no report that fits the schema, or ran on other
                files than the first.
        """
        results = self._folder / f"run-{len(self.reports)}"
        results.mkdir(parents=True)
        yardstick = results / "yardstick.json" if self._drives else None
        own = ["--quiet", f"--results_dir={self._named(results)}"]
        own.append(f"--data_dir={self._named(self._folder / 'events')}")
        if self._caches:
            own.append(f"--compilation_cache={self._named(self._folder / 'programs')}")
        if self.can_reuse_steps and not self.measures_compile:
            own.append("--nomeasure_compile")
        try:
            processes.run(
                [*self._program.command(yardstick), *own],
                folder=self._program.folder,
                environ=self._program.environ(),
                log=results / "log.txt",
                timeout_s=self._timeout_s,
            )
            self.reports.append(reader.read(results / hepscore.FILE_NAME))
            run = costs.from_report(self.reports[-1])
            if yardstick is not None:
                seconds = statistics.median(json.loads(yardstick.read_text()))
                run = dataclasses.replace(run, yardstick_s=seconds)
        except processes.RunFailedError as error:
            raise processes.RunFailedError(f"{self.label}: {error}", error.last_lines) from None
        except (OSError, ValueError, KeyError) as error:
            raise processes.RunFailedError(f"{self.label}: no valid report: {error}") from None
        if _checksum(self.reports[-1]) != _checksum(self.first):
            raise processes.RunFailedError(f"{self.label}: its files changed between two runs")
        self.runs.append(run)
        return run

    def _named(self, path: Path) -> str:
        """Names a file from where the run is: its report, which may be kept, holds its flags."""
        return os.path.relpath(path.resolve(), self._program.folder.resolve())


def _checksum(report: reader.Report) -> str:
    """Of the measured code, as the run found it."""
    return report.bmk_checksum


class Stored:
    """Runs that were made earlier, in their order."""

    def __init__(self, label: str, first: reader.Report, runs: Sequence[costs.RunMeasures]):
        self.label = label
        self.first = first
        self.most_runs: int | None = len(runs)
        self._runs = runs
        self._num_taken = 0

    @property
    def spans(self) -> list[turns.Span]:
        """When every run was taken."""
        return [turns.Span(run.started_at, run.finished_at) for run in self._runs]

    @property
    def next_measures_compile(self) -> bool:
        """Whether the run that comes next compiled its steps, and did not find them in a cache."""
        return self._runs[self._num_taken].measures_compile

    def take(self) -> costs.RunMeasures:
        """Returns the next run; the caller knows how many there are."""
        self._num_taken += 1
        return self._runs[self._num_taken - 1]


Source = Processes | Stored


def make_alike(a: Source, b: Source) -> None:
    """Lets fresh runs of B compile if and only if the stored run of A did that they are held to.

    A step from a cache does not run as one that was just compiled.
    """
    if isinstance(a, Stored) and isinstance(b, Processes):
        b.measures_compile = a.next_measures_compile


def of_baseline(stored: baseline.Baseline) -> Stored:
    """Returns the runs of a baseline as a side."""
    return Stored(f"baseline {stored.name} of {stored.created_at[:10]}", stored.first, stored.runs)


def of_files(path: Path, seen: copies.Seen) -> Stored:
    """Returns the reports of a folder, or of one file, as a side, in order of time.

    Raises:
        ValueError: if a file is no report, or there is none that was not seen before.
        OSError: if one cannot be read.
    """
    reports = seen.new([reader.read(file) for file in reader.find([path])])
    if not reports:
        raise ValueError(f"{path}: nothing but the runs of the other side.")
    reports.sort(key=lambda report: report.stats["started_at"])
    runs = [costs.from_report(report) for report in reports]
    return Stored(str(path), reports[0], runs)
