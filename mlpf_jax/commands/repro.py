"""Shows whether runs compute the same bits, and if not, where and by how much they part.

    python -m tools.repro --out=repro -- --preset=smoke
    python -m tools.repro A/checkpoints B/checkpoints

The first form runs the benchmark with the settings after `--`, and again: as it is, with the other
of pmap and shard_map, with another number of virtual devices, and interrupted and resumed. The
second one compares the folders that runs wrote with --checkpoint_dir, for example on two machines.
Exit status: 0 if all is bit-identical that is promised to be (see docs/reproducibility.md), 1 if it
is not or a run failed, 2 for wrong usage, 130 on Ctrl-C, 143 on SIGTERM.
"""

import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from absl import flags

from mlpf_jax import cli, processes, progress, streams
from mlpf_jax.render import tables
from mlpf_jax.study import running

if TYPE_CHECKING:
    from mlpf_jax.verify import parting

_AGAINST = flags.DEFINE_list(
    "against",
    "again,parallel,devices,interrupted",
    "What to compare the first run with: any of again, parallel (shard_map instead of pmap, or the "
    "reverse), devices (--other_devices), interrupted.",
)
_OTHER_DEVICES = flags.DEFINE_integer(
    "other_devices", 2, "Number of devices of the run for --against=devices."
)
_OUT = flags.DEFINE_string("out", "repro", "Folder for the runs; it must be new.")
_PROMISED = ("again", "parallel", "interrupted")  # to be bit-identical
_KNOWN = (*_PROMISED, "devices")
_WHOLE = "--checkpoint_every=999999999"  # only at the end
_POLL_S = 0.05


def main(settings: Sequence[str], argv: Sequence[str]) -> int:
    """Compares runs, or folders of checkpoints."""
    from mlpf_jax.verify import parting  # imported late, because it imports JAX

    folders, out = [Path(name) for name in argv[1:]], Path(_OUT.value)
    if wrong := [name for name in _AGAINST.value if name not in _KNOWN]:
        return cli.complain(f"--against={wrong[0]}: none of {', '.join(_KNOWN)}.", cli.USAGE)
    if len(set(folders)) != 2 * bool(argv[1:]) or (folders and settings):
        return cli.complain("give two folders, or settings of a run after --.", cli.USAGE)
    if not folders and out.exists():
        return cli.complain(f"--out={out}: exists already.", cli.USAGE)
    try:
        if folders:
            found = {str(folder): parting.read(folder) for folder in folders}
        else:
            with processes.interrupted_by_terminate():
                found = _run_all(settings, out)
        compared = _compare(found)
    except (OSError, ValueError, RuntimeError) as error:
        return cli.complain(error, cli.FAILURE)
    print(tables.render(_view(found, compared), "terminal", width=streams.width(sys.stdout, 120)))
    broken = [n for n, one in compared.items() if n in _PROMISED and not one.is_identical]
    if broken:
        return cli.complain(f"not bit-identical: {', '.join(broken)}.", cli.FAILURE)
    return 0


def _run_all(settings: Sequence[str], out: Path) -> dict[str, "parting.Course"]:
    from mlpf_jax.training import checkpoint, checkpoint_folder

    teller = progress.Progress()
    teller.say("running first")
    found = {"first": _run(settings, out / "first")}
    newest = out / "first" / "checkpoints"
    facts = checkpoint.read_record(newest / str(checkpoint_folder.steps(newest)[0]))["facts"]
    other = "shard_map" if facts["--parallel"] == "pmap" else "pmap"
    changes = {
        "again": (),
        "parallel": (f"--parallel={other}",),
        "devices": (
            f"--num_devices={_OTHER_DEVICES.value}",
            f"--global_batch_size={facts['--global_batch_size']}",
        ),
    }
    for name in _AGAINST.value:
        teller.say(f"running {name}")
        if name == "interrupted":
            interval = max(1, len(found["first"].losses) // 3)
            _interrupt([*settings, f"--checkpoint_every={interval}"], out / name)
            if checkpoint_folder.steps(out / name / "checkpoints")[0] == len(found["first"].losses):
                raise RuntimeError("training was over before it was interrupted: give more epochs.")
        found[name] = _run([*settings, *changes.get(name, ())], out / name)
    return found


def _run(settings: Sequence[str], folder: Path) -> "parting.Course":
    """Runs the benchmark to its end, and returns what it computed."""
    from mlpf_jax.verify import parting

    folder.mkdir(parents=True, exist_ok=True)
    outcome = running.run_main([*settings, *_places(folder), _WHOLE], folder)
    if outcome.status:
        raise RuntimeError(f"{folder.name}: {outcome.last_line} (log: {folder / 'log.txt'})")
    return parting.read(folder / "checkpoints")


def _interrupt(settings: Sequence[str], folder: Path) -> None:
    """Runs the benchmark until its first checkpoint."""
    folder.mkdir(parents=True)
    command = [sys.executable, "-m", "mlpf_jax.main", *_places(folder), *settings]
    with (
        (folder / "interrupted.txt").open("wb") as log,
        processes.started(command, stdout=log, stderr=log) as process,
    ):
        while process.poll() is None and not list(folder.glob("checkpoints/*/sha256.json")):
            time.sleep(_POLL_S)
        process.terminate()
        status = process.wait()
    if status != 143:
        raise RuntimeError(f"{folder.name}: ended by itself (log: {folder / 'interrupted.txt'})")


def _places(folder: Path) -> list[str]:
    return [f"--results_dir={folder}", f"--checkpoint_dir={folder / 'checkpoints'}"]


def _compare(found: Mapping[str, "parting.Course"]) -> dict[str, "parting.Parting"]:
    from mlpf_jax.verify import parting

    (_, first), *others = found.items()
    compared = {}
    for name, course in others:
        try:
            compared[name] = parting.compare(first, course)
        except ValueError as error:
            raise ValueError(f"{name}: {error}") from None
    return compared


def _view(
    found: Mapping[str, "parting.Course"], compared: Mapping[str, "parting.Parting"]
) -> tables.View:
    (name, first), *_ = found.items()
    steps = f"{tables.count(len(first.losses), 'step')}, {len(first.weights)} weights"
    partings = tables.Table(
        title=f"compared with {name} ({steps})",
        columns=("run", "verdict", "losses of the last step", "accuracy"),
        rows=tuple(
            (run, str(one), f"{one.last_step_relative:.2g}", f"{one.accuracy:.2g}")
            for run, one in compared.items()
        ),
    )
    accuracies = tables.Table(
        title="validation accuracy after each epoch",
        columns=("run", *(str(number + 1) for number in range(len(first.accuracies)))),
        rows=tuple(
            (run, *(f"{value:.6f}" for value in course.accuracies)) for run, course in found.items()
        ),
    )
    notes = ("ulps: float32 values in between. Last two columns: largest difference.",)
    return tables.View(tables=(partings, accuracies), notes=notes, records=(), document={})


def run_app() -> None:
    """Runs the program; arguments after `--` are settings of the runs."""
    cli.run_with_settings(main, takes_files=True)


if __name__ == "__main__":
    run_app()
