"""Makes a folder of simulated events, or resumes an interrupted one.

    mlpf-jax-dataset --process=ttbar --events=2000 --seed=1 --out=data/ttbar

The same command gives the same bytes, independent of interruptions and of the number of workers.
Exit status: 0 if the events are complete, 1 if that failed, 2 for wrong usage, 130 on Ctrl-C.
"""

import time
from collections.abc import Sequence
from pathlib import Path

from absl import flags

from mlpf_jax import cli, progress
from mlpf_jax.events import manifest, source, store

_PROCESS = flags.DEFINE_enum("process", None, source.PROCESSES, "Hard process.", required=True)
_EVENTS = flags.DEFINE_integer("events", None, "How many.", lower_bound=1, required=True)
_SEED = flags.DEFINE_integer("seed", 1, "Random seed of the events.", lower_bound=0)
_OUT = flags.DEFINE_string("out", None, "Folder to write.", required=True)
_WORKERS = flags.DEFINE_integer(
    "workers", None, "Number of worker processes. Default: one per available core.", lower_bound=1
)
_BANK = flags.DEFINE_string("bank", None, "Truth bank (.npz). Default: the one in the package.")
_VERIFY_DATA = flags.DEFINE_bool(
    "verify_data", False, "Verify the hash of every file in the folder."
)
_QUIET = flags.DEFINE_bool("quiet", False, "Print no progress.")


def main(argv: Sequence[str]) -> int:
    try:
        events = _make()
    except (OSError, manifest.DamagedError) as error:
        return cli.complain(error, cli.FAILURE)
    except ValueError as error:
        return cli.complain(error, cli.USAGE)
    print(
        f"{events.path}: {events.num_events} {_PROCESS.value} events of seed {_SEED.value}, "
        f"{events.num_elements} elements, {events.num_bytes / 1e9:.3f} GB, "
        f"sha256 {events.digest()}"
    )
    return 0


def _make() -> store.EventStore:
    teller = progress.Progress(quiet=_QUIET.value)
    try:
        with teller.stage(f"simulating {_PROCESS.value}", _EVENTS.value) as stage:
            events = _simulate(stage, teller)
    except KeyboardInterrupt:
        teller.say("complete shards are kept: repeat the command to resume")
        raise
    if _VERIFY_DATA.value:
        events.verify()
        teller.say(f"every file of {events.path} matches the manifest")
    return events


def _simulate(stage: progress.Stage, teller: progress.Progress) -> store.EventStore:
    started, kept = time.monotonic(), None

    def on_progress(done: int, wanted: int) -> None:
        nonlocal kept
        if kept is None:
            kept = done - 1
            if kept:
                teller.say(f"{kept} of {wanted} events already exist")
        rate = (done - kept) / (time.monotonic() - started)
        stage.update(done - kept, f"{rate:.1f} events/s", total=wanted - kept)

    return source.simulate_store(
        Path(_OUT.value),
        _PROCESS.value,
        _EVENTS.value,
        seed=_SEED.value,
        bank=Path(_BANK.value) if _BANK.value else None,
        num_workers=_WORKERS.value,
        on_progress=on_progress,
    )


def run_app() -> None:
    """Runs the program."""
    cli.run(main)


if __name__ == "__main__":
    run_app()
