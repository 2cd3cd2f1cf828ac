"""Answers everything that can be asked of an accelerator, in one budget of time.

    python -m benchmarks.accelerator --out=DIR
    python -m benchmarks.accelerator --budget_s=900 --out=DIR           # goes on where it ended
    python -m benchmarks.accelerator --platform=cpu --rehearsal --out=DIR

Stages run in order of value, each in a process of its own; what a stage found is in DIR as soon as
it ends. A stage that cannot run here, or would not fit the rest of the budget, is skipped with the
reason; one that fails does not stop the others. The same command again runs what is missing.
`tools.compare` and `tools.report` read DIR/runs. See docs/accelerators.md. Exit status: 0 if no
stage failed, 1 if one did, 2 for wrong usage.
"""

import json
import math
import os
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from absl import flags

from benchmarks.accelerator import driver, stages, table
from benchmarks.peers import processes as peer_processes
from mlpf_jax import atomic, cli, processes
from mlpf_jax.measure import environment
from mlpf_jax.render import tables
from mlpf_jax.study import claims

_OUT = flags.DEFINE_string("out", None, "Folder for all results. Needed.")
_BUDGET = flags.DEFINE_float("budget_s", 480.0, "Seconds for this call.", 1.0, 86400.0)
_PLATFORM = flags.DEFINE_enum("platform", "auto", ["auto", "cpu"], "auto: what JAX finds.")
_REHEARSAL = flags.DEFINE_bool("rehearsal", False, "Take a small network through all stages.")
_DATA_DIR = flags.DEFINE_string("data_dir", None, "Folder of events; default: the cache.")


def main(argv: Sequence[str]) -> int:
    """Runs the stages, prints the table, and writes it."""
    del argv
    if not _OUT.value:
        return cli.complain("--out: give a folder for the results.", cli.USAGE)
    if _PLATFORM.value == "cpu" and not _REHEARSAL.value:
        return cli.complain("--platform=cpu: only for a --rehearsal.", cli.USAGE)
    out = Path(_OUT.value).absolute()
    try:
        plan = {"platform": _PLATFORM.value, "is_rehearsal": _REHEARSAL.value}
        claims.claim(out, plan | {"versions": environment.versions()}, must_be_new=True)
    except (ValueError, OSError) as error:
        return cli.complain(error, cli.USAGE)
    with processes.interrupted_by_terminate(), atomic.locked(out):  # two calls take turns
        return _run_in(out, driver.Budget(_BUDGET.value))


def _run_in(out: Path, budget: driver.Budget) -> int:
    first = stages.first(is_rehearsal=_REHEARSAL.value)
    _run([first], out, budget)
    if not driver.is_done(first, out):
        outcome = driver.read(first, out)
        return cli.complain(f"here: {outcome.reason if outcome else 'unknown'}", cli.FAILURE)
    try:
        facts = json.loads(first.result(out).read_text())
        on_cpu = facts["platform"] == "cpu"
    except (ValueError, KeyError, TypeError):
        return cli.complain(f"{first.result(out)}: damaged. Remove it.", cli.FAILURE)
    if on_cpu and not _REHEARSAL.value:
        return cli.complain("JAX finds no accelerator: give --rehearsal.", cli.USAGE)
    all_stages = (first, *stages.rest(_place(facts)))
    try:
        _run(all_stages, out, budget)
    finally:
        _show(table.view(all_stages, out), out)
    failed = [s.name for s in all_stages if (o := driver.read(s, out)) and o.state == "failed"]
    if failed:
        return cli.complain(f"failed: {', '.join(failed)}; see log.txt of each.", cli.FAILURE)
    return 0


def _place(facts) -> stages.Place:
    try:
        peer_processes.interpreter("pytorch-eager")
        has_torch = True
    except ValueError:
        has_torch = False
    data_dir = str(Path(_DATA_DIR.value).absolute()) if _DATA_DIR.value else None
    return stages.Place(
        facts=facts, is_rehearsal=_REHEARSAL.value, has_torch=has_torch, data_dir=data_dir
    )


def _run(some: Sequence[stages.Stage], out: Path, budget: driver.Budget) -> None:
    """A user's own choice of platforms stays."""
    environ = {"JAX_PLATFORMS": "cpu"} if _PLATFORM.value == "cpu" else {}
    environ["PYTHONPATH"] = os.pathsep.join(
        filter(None, [str(driver.ROOT), os.environ.get("PYTHONPATH")])
    )
    driver.run_all(
        some,
        out,
        budget,
        lambda line: print(line, file=sys.stderr, flush=True),
        environ=environ,
        # A rehearsal may run on a busy machine.
        patience=math.inf if _REHEARSAL.value else driver.PATIENCE,
    )


def _show(view: tables.View, out: Path) -> None:
    width = shutil.get_terminal_size((120, 24)).columns
    sys.stdout.write(tables.render(view, "terminal", width=width, colour=sys.stdout.isatty()))
    atomic.write_file(out / "table.md", tables.render(view, "markdown").encode())


if __name__ == "__main__":
    cli.run(main)
