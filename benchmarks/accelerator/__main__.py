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

import math
import os
import shutil
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from absl import flags

from benchmarks.accelerator import driver, stages, table
from benchmarks.peers import processes as peer_processes
from mlpf_jax import atomic, cli, processes
from mlpf_jax.events import source
from mlpf_jax.measure import environment, xla_flags
from mlpf_jax.render import tables
from mlpf_jax.study import claims

_OUT = flags.DEFINE_string("out", None, "Folder for all results. Needed.")
_BUDGET = flags.DEFINE_float("budget_s", 480.0, "Seconds for this call.", 1.0, 86400.0)
_PLATFORM = flags.DEFINE_enum("platform", "auto", ["auto", "cpu"], "auto: what JAX finds.")
_REHEARSAL = flags.DEFINE_bool("rehearsal", False, "Take a small network through all stages.")
_DATA_DIR = flags.DEFINE_string(
    "data_dir", None, "Folder of events; default: the cache, or OUT/events if it is read-only."
)


def main(argv: Sequence[str]) -> int:
    """Runs the stages, prints the table, and writes it."""
    del argv
    if not _OUT.value:
        return cli.complain("--out: give a folder for the results.", cli.USAGE)
    if _PLATFORM.value == "cpu" and not _REHEARSAL.value:
        return cli.complain("--platform=cpu: only for a --rehearsal.", cli.USAGE)
    out = Path(_OUT.value).absolute()
    try:
        environ = _environ()
        plan = {"platform": _PLATFORM.value, "is_rehearsal": _REHEARSAL.value}
        claims.claim(out, plan | {"versions": environment.versions()}, must_be_new=True)
        environ |= driver.temporary_folder(out)
    except (ValueError, OSError) as error:
        return cli.complain(error, cli.USAGE)
    with processes.interrupted_by_terminate(), atomic.locked(out):  # two calls take turns
        return _run_in(out, driver.Budget(_BUDGET.value), environ)


def _run_in(out: Path, budget: driver.Budget, environ: Mapping[str, str]) -> int:
    def run(some: Sequence[stages.Stage], *, again: bool = False) -> None:
        # A rehearsal may run on a busy machine.
        patience = math.inf if _REHEARSAL.value else driver.PATIENCE
        driver.run_all(some, out, budget, _tell, environ=environ, patience=patience, again=again)

    first = stages.first(is_rehearsal=_REHEARSAL.value)
    try:
        facts = driver.describe(first, out, lambda stage: run([stage], again=True))
    except (ValueError, OSError) as error:
        return cli.complain(error, cli.USAGE)
    except RuntimeError as error:
        return cli.complain(error, cli.FAILURE)
    if facts["platform"] == "cpu" and not _REHEARSAL.value:
        why = facts.get("why_cpu") or "JAX finds no accelerator"
        return cli.complain(f"{why}. To try it out: --rehearsal, with another --out.", cli.USAGE)
    all_stages = (first, *stages.rest(_place(facts, out)))
    try:
        run(all_stages)
    finally:
        _show(table.view(all_stages, out, is_rehearsal=_REHEARSAL.value), out)
    failed = [s.name for s in all_stages if (o := driver.read(s, out)) and o.state == "failed"]
    if failed:
        return cli.complain(f"failed: {', '.join(failed)}; see log.txt of each.", cli.FAILURE)
    return 0


def _environ() -> dict[str, str]:
    """Returns additions to the environment of all stages. A user's own choice of platforms stays.

    Raises:
        ValueError: if XLA_FLAGS cannot be read.
    """
    environ = {"JAX_PLATFORMS": "cpu"} if _PLATFORM.value == "cpu" else {}
    if given := xla_flags.read(os.environ.get("XLA_FLAGS", "")):
        environ["XLA_FLAGS"] = xla_flags.join(given, {})
    path = filter(None, [str(driver.ROOT), os.environ.get("PYTHONPATH")])
    return environ | {"PYTHONPATH": os.pathsep.join(path)}


def _place(facts: Mapping[str, Any], out: Path) -> stages.Place:
    try:
        peer_processes.interpreter("pytorch-eager")
        has_torch = True
    except ValueError:
        has_torch = False
    return stages.Place(
        facts=facts, is_rehearsal=_REHEARSAL.value, has_torch=has_torch, data_dir=_data_dir(out)
    )


def _data_dir(out: Path) -> str | None:
    if _DATA_DIR.value:
        return str(Path(_DATA_DIR.value).absolute())
    try:
        folder = source.default_data_dir()
        folder.mkdir(parents=True, exist_ok=True)
        atomic.try_writing(folder, 1)
    except (OSError, ValueError):
        return str(out / "events")
    return None


def _tell(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _show(view: tables.View, out: Path) -> None:
    width = shutil.get_terminal_size((120, 24)).columns
    sys.stdout.write(tables.render(view, "terminal", width=width, colour=sys.stdout.isatty()))
    atomic.write_file(out / "table.md", tables.render(view, "markdown").encode())


if __name__ == "__main__":
    cli.run(main)
