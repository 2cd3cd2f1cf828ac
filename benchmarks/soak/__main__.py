"""Runs a small network for long, and watches memory, descriptors, threads and step time.

    python -m benchmarks.soak --epochs=300 --out=soak

Every epoch of the run trains 25 steps, validates and saves a checkpoint. The program observes the
process from outside, once a second. It writes soak.csv with all observations and, with matplotlib,
soak.png, and compares the second quarter of the run with the last. Exit status: 0 if nothing grew,
1 if something did or the run failed, 2 for wrong usage, 130 on Ctrl-C, 143 on SIGTERM.
"""

import importlib.util
import json
from collections.abc import Sequence
from pathlib import Path

from absl import flags

from benchmarks.soak import watching
from mlpf_jax import cli, processes
from mlpf_jax.report import hepscore

_EPOCHS = flags.DEFINE_integer("epochs", 300, "Epochs of 25 steps.", lower_bound=8)
_OUT = flags.DEFINE_string("out", "soak", "Folder for the run and the observations; must be new.")


def main(argv: Sequence[str]) -> int:
    """Runs, watches and judges."""
    del argv  # no arguments are left
    out = Path(_OUT.value)
    if out.exists():
        return cli.complain(f"--out={out}: exists already.", cli.USAGE)
    out.mkdir(parents=True)
    with processes.interrupted_by_terminate():
        status, seen = watching.watch(out, _EPOCHS.value)
    watching.write(out / "soak.csv", seen)
    if status:
        return cli.complain(f"the run failed: {processes.tail(out / 'log.txt')[-1]}", cli.FAILURE)
    document = json.loads((out / hepscore.FILE_NAME).read_text())
    found = watching.series(seen, document["report"]["wl-stats"]["phases"]["training"])
    grown = watching.judge(found)
    if importlib.util.find_spec("matplotlib"):
        watching.plot(out / "soak.png", found)
    if grown:
        return cli.complain(f"grew: {', '.join(grown)}.", cli.FAILURE)
    return 0


def run_app() -> None:
    """Runs the program."""
    cli.run(main)


if __name__ == "__main__":
    run_app()
