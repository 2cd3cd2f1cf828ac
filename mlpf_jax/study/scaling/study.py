"""The story of a scaling study, from a plan to findings.

The runs go round by round over all points, every other round backwards, so that a drift of the
machine hits all points alike. Finished runs are kept: a study that was interrupted, or gets more
rounds or points, goes on. A run that fails is told, and costs its point the rounds to come.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from mlpf_jax import atomic
from mlpf_jax import progress as progress_lib
from mlpf_jax.measure import environment
from mlpf_jax.report import checksums, hepscore, reader
from mlpf_jax.study import findings, running
from mlpf_jax.study import runs as scaling_runs
from mlpf_jax.study.scaling import plan as planning

_WRONG_USAGE = 2  # exit status of a run that was asked for something impossible


def run(
    plan: planning.Plan, out: Path, runner: running.Runner, progress: progress_lib.Progress
) -> findings.Findings:
    """Runs what is missing in the folder `out` and returns what all runs come to.

    Raises:
        PlanError: if `out` holds another study, or the very first run was wrong usage.
        RuntimeError: if no run ended well.
        ValueError: if a report is damaged, or of another machine, program or point.
    """
    _claim(plan, out)
    by_study = plan.points()
    points = sorted({point for points in by_study.values() for point in points})
    failures = _run_missing(plan, points, out, runner, progress)
    reports = {point: _reports(point, out, plan.repeats) for point in points}
    every = [report for found in reports.values() for report in found.values()]
    if not every:
        raise RuntimeError(f"no run ended well: {next(iter(failures.values()))}")
    results = {
        point: _result(point, found, failures.get(point), out) for point, found in reports.items()
    }
    return findings.Findings(
        provenance=scaling_runs.provenance(every),
        arguments=plan.arguments,
        repeats=plan.repeats,
        results=tuple(results.values()),
        series=tuple(
            findings.series(study, [results[point] for point in own])
            for study, own in by_study.items()
        ),
        batch_rows=findings.batch_rows(results.values()),
    )


def _claim(plan: planning.Plan, out: Path) -> None:
    """Makes `out` the folder of studies with these settings, on this machine, of this program."""
    own = {
        "arguments": list(plan.arguments),
        "seed": plan.seed,
        "package_md5": checksums.code_md5(),
        "versions": environment.versions(),
        "cpu": environment.describe()["cpu"],
    }
    path = out / "plan.json"
    if not path.exists():
        out.mkdir(parents=True, exist_ok=True)
        atomic.write_file(path, (json.dumps(own, indent=2) + "\n").encode())
        return
    try:
        found: Mapping[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        different = [name for name, value in own.items() if found[name] != value]
    except (ValueError, KeyError, TypeError):
        raise planning.PlanError(f"{path}: not the plan of a study. Take another --out.") from None
    if different:
        raise planning.PlanError(
            f"--out={out} holds runs with other {', '.join(different)}, which cannot be mixed with "
            "new ones. Take another --out."
        )


def _run_missing(
    plan: planning.Plan,
    points: Sequence[scaling_runs.Point],
    out: Path,
    runner: running.Runner,
    progress: progress_lib.Progress,
) -> dict[scaling_runs.Point, str]:
    """Returns the points of which a run failed, and why."""
    failures: dict[scaling_runs.Point, str] = {}
    order = list(_order(points, plan.repeats))
    with progress.stage("runs", len(order)) as stage:
        for done, (number, point) in enumerate(order, start=1):
            path = _report_path(point, number, out)
            if not path.exists() and point not in failures:
                path.parent.mkdir(parents=True, exist_ok=True)
                arguments = plan.run_arguments(point, number, path.parent)
                outcome = runner(arguments, path.parent)
                if not path.exists():
                    if outcome.status == _WRONG_USAGE and done == 1:
                        raise planning.PlanError(outcome.last_line)
                    failures[point] = outcome.last_line
                    progress.say(f"{point.name} failed: {outcome.last_line}")
            stage.update(done, f"{point.name}, round {number + 1} of {plan.repeats}")
    return failures


def _order(
    points: Sequence[scaling_runs.Point], repeats: int
) -> Iterator[tuple[int, scaling_runs.Point]]:
    for number in range(repeats):
        for point in points if number % 2 == 0 else reversed(points):
            yield number, point


def _report_path(point: scaling_runs.Point, number: int, out: Path) -> Path:
    return out / "runs" / point.name / f"round-{number}" / hepscore.FILE_NAME


def _reports(point: scaling_runs.Point, out: Path, repeats: int) -> dict[int, reader.Report]:
    """Returns the reports of a point by round.

    Raises:
        ValueError: if one is damaged, or was not made at this point.
    """
    found = {}
    for number in range(repeats):
        path = _report_path(point, number, out)
        if path.exists():
            report = reader.read(path)
            sizes = (report.num_devices, report.batch_size_per_device)
            if sizes != (point.num_devices, point.batch_size):
                raise ValueError(f"{path}: not a run of this point, but of {sizes}. Remove it.")
            found[number] = report
    return found


def _result(
    point: scaling_runs.Point,
    reports: Mapping[int, reader.Report],
    failure: str | None,
    out: Path,
) -> scaling_runs.PointResult:
    runs = {
        number: scaling_runs.run_of(report, str(Path(report.source).relative_to(out)))
        for number, report in reports.items()
    }
    return scaling_runs.PointResult(point=point, runs=runs, failure=failure)
