"""Notes on a scaling study: answers to the talk's open questions, and caveats.

Source of the questions: the talk at the HEPscore workshop, September 2022, its slide on scaling.
"""

import math
from collections.abc import Iterator

from mlpf_jax.stats import scaling_laws as law_lib
from mlpf_jax.study import findings as findings_lib
from mlpf_jax.study import formats

EMULATED = (
    "Emulated: virtual devices share the cores of one CPU. Such points test the program, not the "
    "hardware: their speed-up says nothing about real devices."
)


def notes(findings: findings_lib.Findings) -> Iterator[str]:
    """Yields the answers and necessary remarks, most important first."""
    if findings.is_emulated:
        yield EMULATED
    yield from _answers(findings)
    for series in findings.series:
        for phase, fit in series.fits.items():
            yield _fit_text(series, phase, fit)
    runs = [run for result in findings.results for run in result.runs.values()]
    seeds = sorted({run.seed for run in runs})
    if len(seeds) > 1:
        yield (
            f"In parentheses: 95 % intervals of the mean over up to {findings.repeats} runs of a "
            f"point, each a process with its own seed ({seeds[0]} to {seeds[-1]}); ratios and "
            "changes are taken within a round of runs."
        )
    elif seeds:
        yield "No intervals: with one run per point, the variation between runs is unknown."
    doubtful = [run for run in runs if run.doubts]
    if doubtful:
        yield (
            f"Of {len(runs)} runs, {len(doubtful)} are unreliable measurements, such as "
            f"{doubtful[0].file}: {'; '.join(doubtful[0].doubts)}. The JSON and the CSV contain "
            "the reasons for all runs."
        )
    for result in findings.results:
        if result.failure is not None:
            yield f"Failed: {result.point.name}: {result.failure}"


def _answers(findings: findings_lib.Findings) -> Iterator[str]:
    """Answers the open questions of the talk of 2022, as far as the study allows."""
    rows = findings.batch_rows
    if len(rows) > 1:
        passes = sorted({round(row.passes, 3) for row in rows})
        equal = (
            f"after as many passes over the events ({passes[0]:g})"
            if len(passes) == 1
            else f"although the passes over the events differ ({passes[0]:g} to {passes[-1]:g})"
        )
        yield (
            "Does a larger batch change the result? From "
            f"{rows[0].global_batch_size} to {rows[-1].global_batch_size} events per step the "
            f"accuracy changes by {formats.change(rows[-1].accuracy_change)}, {equal}: "
            f"{_verdict(rows[-1].accuracy_change)}."
        )
    spreads = [row.spread_over_devices for row in rows if row.spread_over_devices is not None]
    if spreads:
        yield (
            "Does the number of devices change it, at the same batch on all together and the same "
            f"seed? The accuracy differs by at most {formats.spread(max(spreads))}."
        )
    for series in findings.series:
        measured = [row for row in series.rows if row.accuracy is not None]
        if series.kind.name == "data" and len(measured) > 1:
            yield _data_text(measured[-2], measured[-1])


def _data_text(before: findings_lib.Row, last: findings_lib.Row) -> str:
    step = findings_lib.accuracy_step(before.result, last.result)
    return (
        f"Is the set of events large enough? From {before.x} to {last.x} training events, at the "
        f"same number of updates, the accuracy changes by {formats.change(step)}: "
        f"{_verdict(step)}."
    )


def _verdict(change: law_lib.Estimate | None) -> str:
    if change is None or math.isinf(change.high):
        return "one run cannot distinguish it from chance"
    if change.low <= 0 <= change.high:
        return "that may be chance"
    return "more than chance between seeds"


def _fit_text(series: findings_lib.Series, phase: str, fit: law_lib.SerialFraction) -> str:
    found = law_lib.Estimate(fit.value, fit.low, fit.high, fit.count)
    misfit = "" if fit.misfit is None else f"; runs deviate by {100 * fit.misfit:.1f} %"
    emulated = ", emulated" if series.is_emulated else ""
    return (
        f"Serial fraction of {phase} by {fit.law}'s law ({series.kind.name} scaling{emulated}): "
        f"{formats.ratio(found)}{misfit}."
    )
