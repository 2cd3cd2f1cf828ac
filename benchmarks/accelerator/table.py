"""The table of all stages: what each found, why others did not run, and what that answers."""

from collections.abc import Sequence
from pathlib import Path

from benchmarks.accelerator import answers, driver, questions, stages
from mlpf_jax.render import tables

_MOST = 200  # characters of a reason
_REHEARSED = "a rehearsal with a small network: its numbers measure nothing, and meet no goal"


def view(
    all_stages: Sequence[stages.Stage], out: Path, *, is_rehearsal: bool = False
) -> tables.View:
    """Returns a row for each stage that ran, a note for each reason of others, and the goals."""
    outcomes = {stage.name: driver.read(stage, out) for stage in all_stages}
    rows, notes = [], {}
    for stage in all_stages:
        outcome = outcomes[stage.name]
        if outcome is None or outcome.state == "skipped":
            reason = outcome.reason if outcome else "not reached"
            notes.setdefault(reason, []).append(stage.name)
            continue
        found = answers.answer(stage, out)
        if outcome.state != "done":
            why = f"{outcome.state}: {outcome.reason[:_MOST]}"
            found = " | ".join(filter(None, [why, found]))
        rows.append((stage.name, found, f"{outcome.seconds:.0f}"))
    told = tuple(f"skipped {', '.join(names)}: {reason}" for reason, names in notes.items())
    return tables.View(
        tables=(
            tables.Table(
                title="What each stage found", columns=("stage", "found", "s"), rows=(*rows,)
            ),
            *(() if is_rehearsal else (questions.table(all_stages, out),)),
        ),
        notes=(_REHEARSED, *told) if is_rehearsal else told,
        records=(),
        document={},
    )
