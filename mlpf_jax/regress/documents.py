"""The decision of the gate as a JSON document and as a table."""

import dataclasses
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mlpf_jax import atomic
from mlpf_jax.measure import records
from mlpf_jax.regress import baseline, exports, judging, pairing, resolution, sources
from mlpf_jax.render import tables
from mlpf_jax.stats import summaries

FORMAT = "mlpf_jax decision 1"
EXIT_STATUS: dict[judging.Whole, int] = {"no regression": 0, "regression": 1, "cannot decide": 3}
_WORDS = {"regression": "slower", "no regression": "no regression", "undecided": "cannot decide"}
_OTHER_WORDS = {"exact": "more memory", "quality": "worse"}  # words for other regressions
_BYTES_OF_DECISION = 2**20  # with its exports, for the maximum number of pairs
_STOPPED = {
    "decided": "",
    "out of time": "The time was over before a decision: increase --budget_s, or use a quieter "
    "machine.",
    "out of pairs": "The pairs were used up before a decision: increase --max_pairs, or give more "
    "results where there are no new runs.",
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Outcome:
    """All results of a comparison."""

    a: sources.Source
    b: sources.Source
    gathered: pairing.Gathered
    judgements: tuple[judging.Judgement, ...]
    rules: judging.Rules
    notes: tuple[str, ...]
    inject: float
    started_at: str

    @property
    def verdict(self) -> judging.Whole:
        """The verdict on all measures together."""
        return judging.whole(self.judgements)


def document(outcome: Outcome) -> dict[str, Any]:
    """Returns the decision with all runs that it is based on, ready for JSON.

    Raises:
        ValueError: if it does not match the schema, which is a bug.
    """
    limits = outcome.rules.limits
    on_cpu = not outcome.b.first.num_gpus
    windows = [
        {phase: resolution.windows(turn, on_cpu=on_cpu) for phase, turn in pair.turns.items()}
        for pair in outcome.gathered.pairs
    ]
    found = {
        "format": FORMAT,
        "verdict": outcome.verdict,
        "exit_status": EXIT_STATUS[outcome.verdict],
        "stopped": outcome.gathered.stopped,
        "limits": {
            "threshold": limits.threshold,
            "allowance": limits.allowance,
            "accuracy_loss": outcome.rules.accuracy_loss,
        },
        "inject": outcome.inject,
        "machine": outcome.b.first.machine,
        "started_at": outcome.started_at,
        "finished_at": records.now(),
        "sides": {"A": _side(outcome.a), "B": _side(outcome.b)},
        "measures": [_measure(one) for one in outcome.judgements],
        "notes": [resolution.note(outcome.gathered, windows), *outcome.notes],
        "resolution": resolution.found(outcome.gathered, outcome.judgements, limits),
        "windows": windows,
        "runs": [
            {"side": side, "pair": number, **dataclasses.asdict(run)}
            for number, pair in enumerate(outcome.gathered.pairs)
            for side, run in (("A", pair.a), ("B", pair.b))
        ],
    }
    found = tables.finite(found)
    baseline.validate(found, "decision")
    return found


def view(found: Mapping[str, Any]) -> tables.View:
    """Returns a decision document as a table with notes."""
    limits, sides = found["limits"], found["sides"]
    table = tables.Table(
        title=_title(found),
        columns=("measure", "A", "B", "B / A", "95 %", "noise", "pairs", "verdict"),
        rows=tuple(_row(measure) for measure in found["measures"]),
    )
    notes = [
        resolution.line(found.get("resolution")),
        f"A: {sides['A']['label']}. B: {sides['B']['label']}. Machine: {found['machine']}.",
        f"Regression: B's cost is higher, not shown to be less than {100 * limits['threshold']:g} "
        "% higher, and confirmed by fresh pairs of runs.",
        f"B was slowed on purpose by {100 * found['inject']:g} %." if found["inject"] else "",
        _STOPPED[found["stopped"]],
        *found["notes"],
    ]
    return tables.View(
        tables=(table,),
        notes=tuple(filter(None, notes)),
        records=tuple(found["measures"]),
        document=found,
    )


def text(found: Mapping[str, Any], *, width: int = 120, colour: bool = False) -> str:
    """Returns a decision document as a table for a terminal."""
    return tables.render(view(found), "terminal", width=width, colour=colour)


def check_writable(folder: Path) -> None:
    """Makes the folder, and writes and removes as many bytes as a decision may need.

    Raises:
        OSError: if that cannot be done.
    """
    folder.mkdir(parents=True, exist_ok=True)
    atomic.try_writing(folder, _BYTES_OF_DECISION)


def write(found: Mapping[str, Any], folder: Path) -> Path:
    """Writes the document, its table and its exports into `folder`; returns the document's path."""
    files = {
        "table.md": tables.render(view(found), "markdown"),
        **exports.files(found),
        "decision.json": json.dumps(found, indent=2, allow_nan=False) + "\n",
    }
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        atomic.write_file(folder / name, content.encode())
    return folder / "decision.json"


def _title(found: Mapping[str, Any]) -> str:
    regressed = [one["name"] for one in found["measures"] if one["verdict"] == "regression"]
    verdict = found["verdict"] + (f": {', '.join(regressed)}" if regressed else "")
    return f"Verdict: {verdict} (exit status {found['exit_status']})"


def _row(measure: Mapping[str, Any]) -> tuple[str, ...]:
    words = _WORDS | {"regression": _OTHER_WORDS.get(measure["kind"], "slower")}
    ratio, noise = measure["ratio"], measure["noise"]
    name = f"{measure['name']}, {measure['unit']}" if measure["unit"] else measure["name"]
    is_closed = measure["kind"] == "timed" and ratio["low"] and ratio["high"] is not None
    return (
        name,
        tables.number(measure["a"]["value"], 5),
        tables.number(measure["b"]["value"], 5),
        f"{ratio['value']:.3f}" if ratio else "-",
        f"{ratio['low']:.3f} to {ratio['high']:.3f}" if is_closed else "-",
        f"{100 * noise:.1f} %" if noise is not None else "-",
        f"{measure['num_first_pairs']} + {measure['num_confirming_pairs']}",
        words[measure["verdict"]] + (f" ({measure['reason']})" if measure["reason"] else ""),
    )


def _side(source: sources.Source) -> dict[str, Any]:
    return {"label": source.label, "environment": dict(source.first.environment)}


def _measure(judgement: judging.Judgement) -> dict[str, Any]:
    decision, ratio = judgement.decision, judgement.ratio
    return {
        "name": judgement.name,
        "kind": judgement.kind,
        "unit": judgement.unit,
        "verdict": decision.verdict,
        "reason": judgement.reason,
        "is_final": decision.is_final,
        "a": _interval(judgement.values_a),
        "b": _interval(judgement.values_b),
        "ratio": ratio and {"value": ratio.value, "low": ratio.low, "high": ratio.high},
        "num_first_pairs": decision.num_first,
        "num_confirming_pairs": decision.num_confirming,
        "noise": judgement.noise,
        "recorded_noise": judgement.recorded_noise,
    }


def _interval(values: Sequence[float]) -> dict[str, float]:
    one = summaries.summarize(values)
    return {"value": one.median, "low": one.interval_low, "high": one.interval_high}
