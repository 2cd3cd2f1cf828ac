"""Validates events against published numbers of the data set, or against another set.

    python -m tools.validate_dataset DIR
    python -m tools.validate_dataset DIR --against=DIR2

DIR is a set of events, simulated or imported, or a folder of such sets. Prints a table with a
verdict for each published quantity and writes a page of plots. The plots need the extra `plots`,
the jets `validate`; parts without their extra are skipped with a message. About 25 events/s. Exit
status: 0 if the validation is complete, whatever its results; 1 if events are damaged, 2 for wrong
usage, 130 on Ctrl-C.
"""

import importlib
import importlib.util
import types
from collections.abc import Sequence
from pathlib import Path

from absl import flags

from mlpf_jax import cli, progress
from mlpf_jax.events import manifest, store
from mlpf_jax.events.validation import agreement, jets, survey, tables
from mlpf_jax.events.validation import differences as comparison

_AGAINST = flags.DEFINE_string(
    "against", None, "Set of events, or folder of sets, to compare with."
)
_PAGE = flags.DEFINE_string("page", "validation.pdf", "Plots to write: .pdf or .png; '' for none.")
_QUIET = flags.DEFINE_bool("quiet", False, "Print no progress.")


def main(argv: Sequence[str]) -> int:
    if len(argv) != 2:
        return cli.complain("give one folder: python -m tools.validate_dataset DIR", cli.USAGE)
    try:
        return _validate(Path(argv[1]))
    except (OSError, manifest.DamagedError) as error:
        return cli.complain(error, cli.FAILURE)
    except ValueError as error:
        return cli.complain(error, cli.USAGE)


def _validate(folder: Path) -> int:
    teller = progress.Progress(quiet=_QUIET.value)
    firsts, seconds = survey.find_sets(folder), []
    if _AGAINST.value:
        firsts, seconds = survey.pair(firsts, survey.find_sets(Path(_AGAINST.value)))
    page_maker = _page_maker(teller)
    if not jets.is_available():
        teller.say("jets are skipped: pip install 'mlpf_jax[validate]'")
    measured = [_measure(events, teller) for events in firsts]
    others = [_measure(events, teller) for events in seconds] or [None] * len(measured)
    for first, second in zip(measured, others, strict=True):
        print(_text(first, second))
    print(tables.explanation())
    if page_maker:
        pages = list(map(page_maker.draw, measured, others))
        for file in page_maker.write(Path(_PAGE.value), pages):
            print(f"plots: {file}")
    return 0


def _page_maker(teller: progress.Progress) -> types.ModuleType | None:
    """Returns the drawing module, if a page is requested and possible."""
    if not _PAGE.value:
        return None
    if importlib.util.find_spec("matplotlib") is None:
        teller.say("plots are skipped: pip install 'mlpf_jax[plots]'")
        return None
    page_maker = importlib.import_module("mlpf_jax.events.validation.page")
    page_maker.check_path(Path(_PAGE.value))
    return page_maker


def _measure(events: store.EventStore, teller: progress.Progress) -> survey.Measurement:
    with teller.stage(f"measuring {events.provenance['process']}", events.num_events) as stage:
        return survey.measure(events, on_progress=lambda done, _: stage.update(done))


def _text(first: survey.Measurement, second: survey.Measurement | None) -> str:
    text = f"{first.title}\n{tables.table(agreement.judge(first))}\n"
    if second is not None:
        differences = tables.difference_table(comparison.compare(first, second))
        text += f"\nfirst:  {first.title}\nsecond: {second.title}\n{differences}\n"
    return text


if __name__ == "__main__":
    cli.run(main, takes_files=True)
