"""Sources of a side's runs: new processes, a baseline, or files of earlier runs."""

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

PACKAGE = "mlpf_jax"  # the folder of a checkout that the runs import
_DRIVER = Path(driver.__file__)
_CACHE_VARIABLE = "JAX_COMPILATION_CACHE_DIR"


@dataclasses.dataclass(frozen=True)
class Program:
    """The command and environment of a side's runs."""

    label: str
    folder: Path  # folder of the package to import
    python: Path
    arguments: tuple[str, ...]
    share: float = 0.0  # share of extra work

    @property
    def can_be_driven(self) -> bool:
        """Whether the benchmark has the hook that the driver needs; older ones do not."""
        return driver.missing(self.folder / PACKAGE) is None

    def command(self, yardstick: Path | None) -> list[str]:
        """Returns the command without the folders of a run. -P prevents accidental imports.

        The driver writes `yardstick`. Without `yardstick`, the benchmark runs without the driver.
        """
        start = [str(self.python), "-P"]
        if yardstick is None:
            return [*start, "-m", "mlpf_jax.main", *self.arguments]
        return [*start, str(_DRIVER), str(self.share), str(yardstick), *self.arguments]

    def environ(self, given: Mapping[str, str] = os.environ) -> dict[str, str]:
        """Returns its environment variables: its own folder has priority over an installed package.

        JAX's own cache variable is removed, because an older benchmark would measure cache reads.
        """
        kept = {name: value for name, value in given.items() if name != _CACHE_VARIABLE}
        return kept | {"PYTHONPATH": str(self.folder)}

    def known_flags(self, log: Path, timeout_s: float) -> frozenset[str]:
        """Returns the flags in its help text; older versions have fewer."""
        command = [str(self.python), "-P", "-m", "mlpf_jax.main", "--help"]
        with contextlib.suppress(processes.RunFailedError):  # --help exits with status 1
            processes.run(
                command, folder=self.folder, environ=self.environ(), log=log, timeout_s=timeout_s
            )
        told = log.read_text(encoding="utf-8", errors="replace")
        return frozenset(re.findall(r"^ *-?-(?:\[no\])?(\w+):", told, re.MULTILINE))


def check_can_be_slowed(checkout: checkouts.Checkout, flag: str) -> None:
    """Refuses a commit, named by `flag`, if its benchmark cannot be slowed down.

    Raises:
        ValueError: one line with the missing module and the way out.
    """
    if lacking := driver.missing(checkout.folder / PACKAGE):
        raise ValueError(
            f"{checkout.label} has no mlpf_jax.{lacking}, which --inject needs: omit --inject, or "
            f"name a commit that has it, {flag}=."
        )


class Processes:
    """Runs as new processes, with files in a folder that the caller removes.

    Uses the caches with flags in `known`: runs after the first load programs from there that are
    not measured, and also the steps while `measures_compile` is false. If both sides support it,
    `drives` runs the benchmark with a yardstick.
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
        """The program's label."""
        return self._program.label

    @property
    def first(self) -> reader.Report:
        """The report of the first run, if there is one."""
        return self.reports[0]

    def take(self) -> costs.RunMeasures:
        """Runs the program once.

        Raises:
            RunFailedError: if it fails, writes no valid report, or ran on different files than the
                first run.
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
        """Returns a relative path, because the report contains the flags and may be published."""
        return os.path.relpath(path.resolve(), self._program.folder.resolve())


def _checksum(report: reader.Report) -> str:
    """The checksum of the measured code during the run."""
    return report.bmk_checksum


class Stored:
    """Earlier runs, in order."""

    def __init__(self, label: str, first: reader.Report, runs: Sequence[costs.RunMeasures]):
        self.label = label
        self.first = first
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


def make_alike(a: Source, b: Source) -> None:
    """Makes new runs of B compile if and only if the stored run of A in the same pair did.

    A step from a cache runs differently from one that was just compiled.
    """
    if isinstance(a, Stored) and isinstance(b, Processes):
        b.measures_compile = a.next_measures_compile


def of_baseline(stored: baseline.Baseline) -> Stored:
    """Returns the runs of a baseline as a side."""
    return Stored(f"baseline {stored.name} of {stored.created_at[:10]}", stored.first, stored.runs)


def of_files(path: Path, seen: copies.Seen) -> Stored:
    """Returns the reports of a folder, or of one file, as a side, in order of time.

    Raises:
        ValueError: if a file is not a report, or all runs were seen before.
        OSError: if one cannot be read.
    """
    reports = seen.new([reader.read(file) for file in reader.find([path])])
    if not reports:
        raise ValueError(f"{path}: only the runs of the other side.")
    reports.sort(key=lambda report: report.stats["started_at"])
    runs = [costs.from_report(report) for report in reports]
    return Stored(str(path), reports[0], runs)
