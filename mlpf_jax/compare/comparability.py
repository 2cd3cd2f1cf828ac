"""Which differences between two runs forbid a ratio of their throughputs, by fixed rules.

A difference refuses the ratio (none is printed, the reason is) or marks it (it is printed with a
footnote). Other hardware, compilers and code are what a comparison is for: they do neither, but
are told by `facts.explanation`. `docs/comparing.md` has the table of the rules.
"""

import dataclasses
import math
import re
import statistics
from collections.abc import Iterator, Sequence
from typing import Literal

from mlpf_jax.report import facts, reader

Scope = Literal["training", "inference", "epochs"]  # epochs: their time and the accuracy
Severity = Literal["refused", "marked"]
DOUBT = "the run itself doubts it: "
PHASES: tuple[Scope, ...] = ("training", "inference")
ALL: tuple[Scope, ...] = (*PHASES, "epochs")
_FEWEST_SAMPLES = 5
_SAME_SCORE = 1e-6  # relative; scores are written in full digits


@dataclasses.dataclass(frozen=True)
class Finding:
    """What speaks against a number, and which numbers it concerns."""

    severity: Severity
    scopes: tuple[Scope, ...]
    text: str

    def __str__(self) -> str:
        return f"{self.severity}: {self.text}"


@dataclasses.dataclass(frozen=True)
class Rule:
    """What follows if facts of these names differ, and both are known."""

    names: str  # a regular expression for the whole name
    severity: Severity
    scopes: tuple[Scope, ...]
    reason: str


RULES = (
    Rule("workload version", "refused", ALL, "the measured work was changed between them"),
    Rule("model[.](?!pair_kernel).*|data[.]num_elements", "refused", ALL, "another network"),
    Rule("precision", "refused", PHASES, "another precision is another score"),
    Rule("precision", "marked", ("epochs",), "another precision"),
    Rule("padding", "refused", ALL, "another padding, so other work per event"),
    Rule(
        "emulated devices",
        "refused",
        ALL,
        "virtual devices on a CPU tell nothing of devices",
    ),
    Rule("batch per device", "marked", PHASES, "another batch per device"),
    Rule("steps from a cache", "marked", PHASES, "a step compiled in its process may run slower"),
    Rule("global batch", "marked", ("epochs",), "another batch in total, so another training"),
    Rule("steps by epoch", "marked", ("epochs",), "another number of steps"),
    Rule(
        "seed|data[.]shuffle|train[.](learning_rate|decay_.*)",
        "marked",
        ("epochs",),
        "another training",
    ),
)


def between(a: reader.Report, b: reader.Report) -> tuple[Finding, ...]:
    """Returns what speaks against holding `b` against `a`, refusals first.

    What is refused anyway is not marked as well.
    """
    differences = facts.differences(a, b)
    found = [
        *_by_rules(differences),
        *_events(a, b),
        *_graph(differences),
        *_missing_phases(a, b),
    ]
    kept = [finding for finding in found if finding.severity == "refused"]
    refused = {scope for finding in kept for scope in finding.scopes}
    for finding in found:
        left = tuple(scope for scope in finding.scopes if scope not in refused)
        if left and finding.severity == "marked":
            kept.append(_mark(left, finding.text))
    return tuple(kept)


def within(report: reader.Report) -> tuple[Finding, ...]:
    """Returns what a reader of one run's numbers must know, whatever they are held against."""
    found = []
    if report.is_emulated:
        found.append(
            _mark(ALL, "emulated: virtual devices share one CPU, no statement about devices")
        )
    weights = report.stats.get("inference_weights", "trained")
    if weights != "trained":
        found.append(_mark(("epochs",), f"accuracy with {weights} weights"))
    for doubt in report.stats.get("doubts", []):
        concerned = tuple(name for name in PHASES if doubt.startswith(f"{name}: "))
        found.append(_mark(concerned or ALL, DOUBT + doubt))
    for name in PHASES:
        found += _phase(report, name)
    return tuple(found)


def _by_rules(differences: Sequence[facts.Difference]) -> Iterator[Finding]:
    for rule in RULES:
        hits = [d for d in differences if re.fullmatch(rule.names, d.name) and _known(d)]
        if hits:
            listed = ", ".join(map(str, hits))
            yield Finding(rule.severity, rule.scopes, f"{rule.reason}: {listed}")


def _known(difference: facts.Difference) -> bool:
    return difference.before is not None and difference.after is not None


def _events(a: reader.Report, b: reader.Report) -> Iterator[Finding]:
    """Another number of events of the same source costs the same per event; others may not."""
    concerned: dict[str, tuple[Scope, ...]] = {
        "train": ("training", "epochs"),
        "test": ("inference", "epochs"),
    }
    for name, scopes in concerned.items():
        first, second = (facts.at(report.stats["data"], name) for report in (a, b))
        if first is None or second is None or first["sha256"] == second["sha256"]:
            continue
        counts = first["num_events"], second["num_events"]
        if first["provenance"] == second["provenance"] and counts[0] != counts[1]:
            yield _mark(scopes, f"another number of {name} events: {counts[0]} -> {counts[1]}")
        else:
            digests = f"{first['sha256'][:12]} -> {second['sha256'][:12]}"
            yield Finding("refused", scopes, f"other {name} events: digest {digests}")


def _graph(differences: Sequence[facts.Difference]) -> Iterator[Finding]:
    """Explains another fingerprint by what can cause it; refuses one that nothing explains.

    The fingerprint is of StableHLO, so a new JAX or a faster way to the same result changes it.
    That the work stayed the same is what the workload version promises.
    """
    if not any(d.name == "graph" for d in differences):
        return
    settings = ("model.", "data.num_elements", "precision", "padding")
    if any(d.name.startswith(settings) for d in differences):
        return  # another network, refused for what it is
    causes = [
        c for c in ("compiler", "libraries", "code") if any(d.category == c for d in differences)
    ]
    if causes:
        reason = f"other {' and '.join(causes)}, the same workload version"
        yield _mark(ALL, f"another graph fingerprint ({reason})")
    else:
        reason = "with the same compiler, libraries, code and network"
        yield Finding("refused", ALL, f"another graph fingerprint {reason}")


def _missing_phases(a: reader.Report, b: reader.Report) -> Iterator[Finding]:
    for name in PHASES:
        lacking = [side for side in (a, b) if name not in side.phases]
        if len(lacking) == 1:
            yield Finding("refused", (name,), f"incomplete: no {name} in {lacking[0].source}")
    if not a.phases.keys() & b.phases.keys():
        yield Finding("refused", ALL, "no phase in common")


def _phase(report: reader.Report, name: Scope) -> Iterator[Finding]:
    phase = report.phases.get(name)
    if phase is None:
        return
    if "doubts" not in report.stats and len(phase.rates) < _FEWEST_SAMPLES:
        yield _mark((name,), f"only {len(phase.rates)} samples of {name}")
    score = report.document["report"]["wl-scores"].get(phase.score_name, 0.0)
    if not math.isclose(score, statistics.median(phase.rates), rel_tol=_SAME_SCORE):
        yield _mark((name,), f"the file's score of {name} is not the median of its samples")


def _mark(scopes: tuple[Scope, ...], text: str) -> Finding:
    return Finding("marked", scopes, text)
