"""Baselines: stored runs of one commit on one class of machine, to compare later runs with.

A folder has a subfolder per class of machine, with a file per name. Files are overwritten only on
request.
"""

import dataclasses
import itertools
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from mlpf_jax import keeping
from mlpf_jax.measure import records
from mlpf_jax.regress import costs as measures
from mlpf_jax.report import facts, hepscore, reader, schema
from mlpf_jax.stats import sequential

DEFAULT_FOLDER = Path("benchmarks") / "baselines"
SAME_PROGRAMS = "compile, same programs"  # the noise of `compile` if only lowering can differ
IN_TURNS = "windows in turns"  # whose noise no baseline has: it is of whole runs
_FORMAT = "mlpf_jax baseline 1"
_SCHEMA = Path(__file__).with_name("schema.json")
_MOST_BYTES = 64 * 2**20
_FEWEST_RUNS_OF_NOISE = 4


@dataclasses.dataclass(frozen=True, kw_only=True)
class Baseline:
    """At least one run, in order of time, with their provenance."""

    name: str
    created_at: str  # ISO 8601, UTC
    preset: tuple[str, ...]  # the settings of the runs
    report: Mapping[str, Any]  # the first run's whole report: versions, commit, machine, events
    runs: tuple[measures.RunMeasures, ...]

    @property
    def machine_class(self) -> str:
        """The class of machine of all runs."""
        return self.runs[0].machine_class

    @property
    def first(self) -> reader.Report:
        """The first run's report."""
        return reader.from_document(self.report, f"baseline {self.name}")

    @property
    def noises(self) -> dict[str, float]:
        """The standard deviation of the slowdown between two equal runs, by cost.

        Empty with fewer than four runs.
        """
        if len(self.runs) < _FEWEST_RUNS_OF_NOISE:
            return {}
        names = self.runs[0].seconds.keys()
        costs: dict[str, Sequence[float | None]] = {
            name: [run.seconds.get(name) for run in self.runs] for name in names
        }
        costs[SAME_PROGRAMS] = measures.compile_of_same_programs(self.runs)
        slowdowns = {name: self._slowdowns(values) for name, values in costs.items()}
        return {name: sequential.spread(found) for name, found in slowdowns.items() if found}

    def _slowdowns(self, costs: Sequence[float | None]) -> list[float]:
        """Slowdowns of neighbouring runs with the cost, both with or both without compilation."""
        neighbours = [
            (a, b)
            for (run, a), (other, b) in itertools.pairwise(zip(self.runs, costs, strict=True))
            if a and b and run.measures_compile == other.measures_compile
        ]
        return sequential.slowdowns([a for a, _ in neighbours], [b for _, b in neighbours])


def check_name(name: str) -> None:
    """Refuses what is no name of a file on every system.

    Raises:
        ValueError: in that case.
    """
    if not re.fullmatch(r"[a-z0-9][a-z0-9._-]{0,99}", name):
        raise ValueError(
            f"{name!r} is not a valid name of a baseline: use only lower-case letters, digits, . "
            "_ and -."
        )


def make(
    name: str,
    preset: Sequence[str],
    first: reader.Report,
    runs: Sequence[measures.RunMeasures],
) -> Baseline:
    """Returns a baseline from at least one run of the same program, in order of time.

    Raises:
        ValueError: if the name is not a file name, there is no run, or there are several classes of
            machine.
    """
    check_name(name)
    if len({run.machine_class for run in runs}) != 1:
        raise ValueError("a baseline needs at least one run, all on one class of machine.")
    return Baseline(
        name=name,
        created_at=records.now(),
        preset=tuple(preset),
        report=first.document,
        runs=tuple(runs),
    )


def free_path(folder: Path, machine_class: str, name: str, *, force: bool) -> Path:
    """Returns the path of the baseline of this name, which may exist only with `force`.

    Raises:
        ValueError: if it exists and `force` is not set.
    """
    path = folder / machine_class / f"{name}.json"
    if path.exists() and not force:
        raise ValueError(f"{path}: exists already. Take another name, or --force to replace it.")
    return path


def write(baseline: Baseline, folder: Path, *, force: bool = False) -> Path:
    """Writes the baseline into the folder of its class and returns its path.

    Raises:
        ValueError: if one of this name exists and `force` is not set.
        OSError: if it cannot be written.
    """
    path = free_path(folder, baseline.machine_class, baseline.name, force=force)
    document = {"format": _FORMAT, "machine_class": baseline.machine_class}
    document |= dataclasses.asdict(baseline)
    text = json.dumps(document, indent=2, allow_nan=False) + "\n"
    validate(json.loads(text), "baseline")
    path.parent.mkdir(parents=True, exist_ok=True)
    keeping.write_file(path, text.encode())
    return path


def read(path: Path) -> Baseline:
    """Reads a baseline.

    Raises:
        ValueError: if it is not a baseline; the message is one line that begins with the path.
        OSError: if it cannot be read.
    """
    try:
        document = schema.load(path, _MOST_BYTES)
        validate(document, "baseline")
        hepscore.validate(document["report"])
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path}: {str(error).splitlines()[0]}") from None
    kept = {name: document[name] for name in ("name", "created_at", "report")}
    runs = tuple(map(measures.from_document, document["runs"]))
    return Baseline(**kept, preset=tuple(document["preset"]), runs=runs)


def read_all(folder: Path) -> list[Baseline]:
    """Returns the baselines of all machines in a folder.

    Raises:
        ValueError, OSError: as `read`.
    """
    return [read(path) for path in sorted(folder.glob("*/*.json"))]


def newest(
    stored: Sequence[Baseline], report: reader.Report, preset: Sequence[str]
) -> Baseline | None:
    """Returns the newest baseline for a run's machine and settings; None if there is none.

    A machine is the same if no hardware fact differs or is unknown on one side only: an older
    baseline may come from another CPU of the same name.
    """
    alike = [
        baseline
        for baseline in stored
        if (baseline.machine_class, baseline.preset) == (report.machine_class, tuple(preset))
        and all(d.category != "hardware" for d in facts.differences(baseline.first, report))
    ]
    return max(alike, key=lambda baseline: baseline.created_at, default=None)


def validate(document: Any, kind: Literal["baseline", "decision"]) -> None:
    """Validates a document of the gate against the schema in the package.

    Raises:
        ValueError: if it is invalid; the message is one line that names the place.
    """
    wanted = {"$ref": f"#/$defs/{kind}", "$defs": json.loads(_SCHEMA.read_text())["$defs"]}
    schema.check(document, wanted, f"not a {kind} of the regression gate", f"the {kind}")
