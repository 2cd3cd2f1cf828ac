"""Rules for which differences between two runs forbid a ratio of their throughputs.

A difference refuses the ratio (the reason is printed instead) or marks it (it gets a footnote).
Differences in hardware, compiler and code are the purpose of a comparison: they do neither, and are
reported by `facts.explain`. Most rules are declared at the fields in `report.model`; this module
has the rules that need more than a difference of one field. `docs/comparing.md` has a table of all
rules.
"""

import dataclasses
import math
import statistics
from collections.abc import Iterator, Sequence
from typing import Any, Literal

from mlpf_jax.report import facts, model, reader
from mlpf_jax.report.fields import ALL, PHASES, Scope

DOUBT = "unreliable measurement: "
_FEWEST_SAMPLES = 5
_SAME_SCORE = 1e-6  # relative; scores are written with full precision


@dataclasses.dataclass(frozen=True)
class Finding:
    """A reason to refuse or mark a number, and the numbers that it affects."""

    severity: Literal["refused", "marked"]
    scopes: tuple[Scope, ...]
    text: str

    def __str__(self) -> str:
        return f"{self.severity}: {self.text}"


def between(a: reader.Report, b: reader.Report) -> tuple[Finding, ...]:
    """Returns reasons against comparing `b` with `a`, refusals first.

    Refused ratios are not also marked.
    """
    differences = facts.differences(a, b)
    found = [
        *_declared(differences),
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
    """Returns what readers of a run's numbers must know, independent of any comparison."""
    found = []
    if report.is_emulated:
        found.append(
            _mark(ALL, "emulated: virtual devices share one CPU, says nothing about real devices")
        )
    weights = report.inference_weights or "trained"
    if weights != "trained":
        found.append(_mark(("epochs",), f"accuracy with {weights} weights"))
    for doubt in report.doubts or ():
        concerned = tuple(name for name in PHASES if doubt.startswith(f"{name}: "))
        found.append(_mark(concerned or ALL, DOUBT + doubt))
    for name in PHASES:
        found += _phase(report, name)
    return tuple(found)


def _declared(differences: Sequence[facts.Difference]) -> Iterator[Finding]:
    """The effects that the fields of a report declare, if the values of both runs are known."""
    known = [d for d in differences if d.before is not None and d.after is not None]
    for effect in model.Report.effects():
        hits = [str(difference) for difference in known if effect in difference.effects]
        if hits:
            yield Finding(effect.severity, effect.scopes, f"{effect.reason}: {', '.join(hits)}")


def _events(a: reader.Report, b: reader.Report) -> Iterator[Finding]:
    """Events from the same source cost the same per event, in any number; other events may not."""
    concerned: tuple[tuple[str, Scope, Any, Any], ...] = (
        ("train", "training", a.train_data, b.train_data),
        ("test", "inference", a.test_data, b.test_data),
    )
    for name, phase, first, second in concerned:
        scopes: tuple[Scope, ...] = (phase, "epochs")
        if first is None or second is None or first["sha256"] == second["sha256"]:
            continue
        counts = first["num_events"], second["num_events"]
        if first["provenance"] == second["provenance"] and counts[0] != counts[1]:
            yield _mark(scopes, f"another number of {name} events: {counts[0]} -> {counts[1]}")
        else:
            digests = f"{first['sha256'][:12]} -> {second['sha256'][:12]}"
            yield Finding("refused", scopes, f"other {name} events: digest {digests}")


def _graph(differences: Sequence[facts.Difference]) -> Iterator[Finding]:
    """Explains a different fingerprint by its possible causes; refuses unexplained ones.

    The fingerprint is of StableHLO, so a new JAX or a faster algorithm changes it. An equal
    workload version guarantees that the work is the same.
    """
    if not any(d.name == "graph" for d in differences):
        return
    settings = ("model.", "data.num_elements", "precision", "padding")
    if any(d.name.startswith(settings) for d in differences):
        return  # another network, which is refused elsewhere
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
    if report.doubts is None and len(phase.rates) < _FEWEST_SAMPLES:
        yield _mark((name,), f"only {len(phase.rates)} samples of {name}")
    score = report.scores.get(phase.score_name, 0.0)
    if not math.isclose(score, statistics.median(phase.rates), rel_tol=_SAME_SCORE):
        yield _mark((name,), f"the file's score of {name} is not the median of its samples")


def _mark(scopes: tuple[Scope, ...], text: str) -> Finding:
    return Finding("marked", scopes, text)
