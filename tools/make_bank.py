"""Makes a truth bank with Pythia, for simulating custom events with `--bank=FILE`.

    python -m tools.make_bank --out=my_bank.npz --minbias=4096 --ttbar=512 --qcd=256 --workers=2

It needs the extra `generate` (pip install 'mlpf_jax[generate]'). The same command resumes an
interrupted one; it gives the same bytes with any number of workers, on one kind of machine.
`--generated_per_kept=32` generates 32 collisions for each that it keeps, and keeps the most
representative ones, as for the bank in the package. Exit status: 0 if the bank was made, 1 if that
failed, 2 for wrong usage, 130 on Ctrl-C.
"""

import time
from collections.abc import Sequence
from pathlib import Path

from absl import flags

from mlpf_jax import cli, progress
from mlpf_jax.simulation import bank, bank_making

_OUT = flags.DEFINE_string("out", None, "Bank to make (.npz).", required=True)
_MINBIAS = flags.DEFINE_integer("minbias", 4096, "Pile-up collisions.", lower_bound=1)
_TTBAR = flags.DEFINE_integer("ttbar", 512, "Number of hard collisions; 0 for none.", lower_bound=0)
_QCD = flags.DEFINE_integer("qcd", 256, "Number of hard collisions; 0 for none.", lower_bound=0)
_GENERATED_PER_KEPT = flags.DEFINE_integer(
    "generated_per_kept", 1, "Number of collisions to generate for each kept one.", lower_bound=1
)
_SEED = flags.DEFINE_integer("seed", 1, "Random seed of the bank.", lower_bound=0)
_WORKERS = flags.DEFINE_integer("workers", 1, "Processes.", lower_bound=1)
_QUIET = flags.DEFINE_bool("quiet", False, "Print no progress.")


def main(_: Sequence[str]) -> int:
    try:
        made = _make()
    except OSError as error:
        return cli.complain(error, cli.FAILURE)
    except ValueError as error:
        return cli.complain(error, cli.USAGE)
    print(_summary(made))
    return 0


def _make() -> bank.Bank:
    counts = {"ttbar": _TTBAR.value, "qcd": _QCD.value, "minbias": _MINBIAS.value}
    plan = bank_making.BankPlan(
        num_events={process: count for process, count in counts.items() if count},
        generated_per_kept=_GENERATED_PER_KEPT.value,
        seed=_SEED.value,
    )
    teller = progress.Progress(quiet=_QUIET.value)
    try:
        with teller.stage("generating", sum(p.num_events for p in plan.pieces())) as stage:
            return _generate(plan, stage)
    except KeyboardInterrupt:
        teller.say("generated collisions are kept: repeat the command to resume")
        raise


def _generate(plan: bank_making.BankPlan, stage: progress.Stage) -> bank.Bank:
    started, at_first = time.monotonic(), None

    def on_progress(done: int, _: int) -> None:
        nonlocal at_first
        at_first = done if at_first is None else at_first
        stage.update(done, f"{(done - at_first) / (time.monotonic() - started):.1f} collisions/s")

    return bank_making.make_bank(
        Path(_OUT.value), plan, num_workers=_WORKERS.value, on_progress=on_progress
    )


def _summary(made: bank.Bank) -> str:
    counts = ", ".join(f"{made.events(name).num_events} {name}" for name in sorted(made.truth))
    size = Path(_OUT.value).stat().st_size
    return f"{_OUT.value}: {counts} of {made.generator}, {size / 1e6:.2f} MB, sha256 {made.sha256}"


if __name__ == "__main__":
    cli.run(main)
