"""Judges every measure of the pairs of runs, and all measures together."""

import dataclasses
import statistics
from collections.abc import Mapping, Sequence
from typing import Literal

from mlpf_jax.compare import comparability
from mlpf_jax.regress import baseline, costs, pairing
from mlpf_jax.report import facts, reader
from mlpf_jax.stats import comparison, sequential

Kind = Literal["timed", "exact", "quality"]
Whole = Literal["regression", "no regression", "cannot decide"]
_FEWEST_PAIRS_OF_EXACT = 2  # measures without noise are confirmed by a second run of each side
TIMES = {"training": "s/event", "inference": "s/event", "compile": "s"}  # with their units


@dataclasses.dataclass(frozen=True, kw_only=True)
class Rules:
    """The limits and conditions of a judgement."""

    limits: sequential.Limits
    accuracy_loss: float = 0.005  # absolute, of the validation accuracy
    recorded_noise: Mapping[str, float] = dataclasses.field(default_factory=dict)
    same_compiler: bool = False  # both sides use the same compiler with the same settings


@dataclasses.dataclass(frozen=True, kw_only=True)
class Judgement:
    """One measure of both sides, and its judgement."""

    name: str
    kind: Kind
    unit: str
    values_a: tuple[float, ...]
    values_b: tuple[float, ...]
    decision: sequential.Decision
    ratio: comparison.Ratio | None  # B's cost over A's
    reason: str
    slowdowns: tuple[float, ...] = ()  # of the pairs, as judged; empty if untimed
    recorded_noise: float = 0.0  # noise of A against A that they had to exceed

    @property
    def noise(self) -> float | None:
        """The standard deviation of the pairs' slowdowns; None if nothing was timed."""
        return sequential.spread(self.slowdowns) if self.slowdowns else None


def judge(
    pairs: Sequence[pairing.Pair], rules: Rules, blocked: Mapping[str, str]
) -> tuple[Judgement, ...]:
    """Judges every measure that both sides have; `blocked` ones stay undecided, with the reason."""
    first = pairs[0]
    has_quality = None not in (first.a.accuracy, first.b.accuracy)
    same_programs = rules.same_compiler and have_same_programs(pairs, rules.limits)
    assert len(TIMES) <= sequential.MOST_TIMED_MEASURES
    timed = [_timed(name, pairs, rules, same_programs=same_programs) for name in TIMES]
    names = [name for name in first.a.memory_bytes if name in first.b.memory_bytes]
    exact = [_memory(name, pairs, rules.limits) for name in names]
    quality = [_accuracy(pairs, rules)] if has_quality else []
    return tuple(_block(one, blocked) for one in (*filter(None, timed), *exact, *quality))


def is_enough(judgements: Sequence[Judgement]) -> bool:
    """Whether more pairs are useless: a time has regressed, or everything is decided."""
    regressed = any(j.kind == "timed" and j.decision.verdict == "regression" for j in judgements)
    return regressed or all(j.decision.is_final for j in judgements)


def whole(judgements: Sequence[Judgement]) -> Whole:
    """Returns the judgement on all measures together."""
    verdicts = {judgement.decision.verdict for judgement in judgements}
    if "regression" in verdicts:
        return "regression"
    return "no regression" if verdicts == {"no regression"} else "cannot decide"


def blocked_measures(
    a: reader.Report, b: reader.Report, *, in_one_session: bool
) -> tuple[dict[str, str], list[str]]:
    """Returns the measures of two reports that are not comparable, with reasons, and notes.

    Runs of one session are of one machine, whatever an older version tells of it.
    """
    blocked: dict[str, str] = {}
    notes = []
    reason = _other_machine(a, b, in_one_session=in_one_session)
    if reason is not None:
        return dict.fromkeys((*TIMES, "memory training", "memory inference"), reason), [reason]
    if not in_one_session and a.identity_key is None:
        notes.append("neither side identifies its CPU: it may be another machine of that name")
    for finding in comparability.between(a, b):
        notes.append(str(finding))
        if finding.severity == "refused":
            names = {name for scope in finding.scopes for name in _measures_of(scope)}
            names |= {"compile"} if {"training", "inference"} <= {*finding.scopes} else set()
            blocked |= dict.fromkeys(names, finding.text)
    if a.phases.keys() != b.phases.keys():
        # They are of other steps. Also, what only one side did has no judgement, and must not pass.
        why = " -> ".join(" and ".join(side.phases) for side in (a, b))
        blocked |= dict.fromkeys(("compile", "accuracy"), f"other phases: {why}")
    return blocked, notes


def _other_machine(a: reader.Report, b: reader.Report, *, in_one_session: bool) -> str | None:
    if a.machine_class == b.machine_class:
        return None
    if a.unidentified_class != b.unidentified_class or (a.identity_key and b.identity_key):
        return f"other machine: {a.machine_class} -> {b.machine_class}"
    if in_one_session:
        return None
    older = "A" if a.identity_key is None else "B"
    return f"perhaps another machine: {older} does not identify its CPU"


def _measures_of(scope: comparability.Scope) -> tuple[str, ...]:
    return ("accuracy",) if scope == "epochs" else (scope, f"memory {scope}")


def have_same_compiler(a: reader.Report, b: reader.Report) -> bool:
    """Whether the compilers of two reports and their surroundings are the same."""
    changed = {difference.category for difference in facts.differences(a, b)}
    return not changed & {"hardware", "compiler", "system"}


def have_same_programs(pairs: Sequence[pairing.Pair], limits: sequential.Limits) -> bool:
    """Whether both sides give the compiler the same programs, and it treats them the same way.

    Reports do not contain compiler options that the code sets. The answer is therefore no if every
    run of B compiled longer than every run of A, by the threshold and by more than runs differ.
    """
    if any(run.programs != pairs[0].a.programs for pair in pairs for run in (pair.a, pair.b)):
        return False
    a = [pair.a.xla_s for pair in pairs if pair.a.xla_s is not None]
    b = [pair.b.xla_s for pair in pairs if pair.b.xla_s is not None]
    if not a or not b:
        return False
    apart = max(limits.threshold * max(a), max(a) - min(a), max(b) - min(b))
    return min(b) - max(a) <= apart


def _timed(
    name: str, pairs: Sequence[pairing.Pair], rules: Rules, *, same_programs: bool
) -> Judgement | None:
    """Judges a time by the pairs that measured it, if any. Recorded noise is that of whole runs.

    For equal programs, one measured compilation is enough.
    """
    noise_of, note = name, ""
    if name == "compile" and same_programs:
        values = costs.compile_of_same_programs([run for p in pairs for run in (p.a, p.b)])
        values_a, values_b = values[::2], values[1::2]
        slowdowns = sequential.slowdowns(values_a, values_b)
        noise_of, note = baseline.SAME_PROGRAMS, "the same programs: only lowering can differ"
    else:
        pairs = [pair for pair in pairs if name in pair.a.seconds and name in pair.b.seconds]
        if not pairs:
            return None
        values_a = [pair.a.seconds[name] for pair in pairs]
        values_b = [pair.b.seconds[name] for pair in pairs]
        slowdowns = [pair.slowdown(name) for pair in pairs]
    if all(name in pair.turns for pair in pairs):
        noise_of = baseline.IN_TURNS
    limits = dataclasses.replace(rules.limits, noise=rules.recorded_noise.get(noise_of, 0.0))
    decision = sequential.decide(slowdowns, limits)
    return Judgement(
        name=name,
        kind="timed",
        unit=TIMES[name],
        values_a=tuple(values_a),
        values_b=tuple(values_b),
        decision=decision,
        ratio=sequential.ratio(slowdowns),
        reason="; ".join(filter(None, [_reason(decision, slowdowns), note])),
        slowdowns=tuple(slowdowns),
        recorded_noise=limits.noise,
    )


def _reason(decision: sequential.Decision, slowdowns: Sequence[float]) -> str:
    if decision.verdict == "regression":
        return "confirmed"
    if decision.verdict == "no regression":
        return "slower at first, not confirmed" if decision.num_confirming else ""
    if decision.num_confirming and not sequential.is_noisy(slowdowns):
        return "slower, but without any noise, which is impossible for separate runs"
    if decision.is_final:
        return "too noisy: more pairs would not be tested"
    return "slower, not yet confirmed" if decision.num_confirming else "not enough pairs"


def _memory(phase: str, pairs: Sequence[pairing.Pair], limits: sequential.Limits) -> Judgement:
    values_a = tuple(float(pair.a.memory_bytes[phase]) for pair in pairs)
    values_b = tuple(float(pair.b.memory_bytes[phase]) for pair in pairs)
    before, after = max(values_a), max(values_b)
    decision = sequential.decide_exact(before, after, limits)
    change = after / before
    return Judgement(
        name=f"memory {phase}",
        kind="exact",
        unit="bytes",
        values_a=values_a,
        values_b=values_b,
        decision=_once_confirmed(decision, len(pairs)),
        ratio=comparison.Ratio(change, change, change, 1.0, len(pairs)),
        reason="planned by the compiler" + (", the same" if before == after else ""),
    )


def _accuracy(pairs: Sequence[pairing.Pair], rules: Rules) -> Judgement:
    """Judges the accuracy: equal bits pass; otherwise a limit applies to it, or to the loss."""
    runs_a, runs_b = [pair.a for pair in pairs], [pair.b for pair in pairs]
    accuracy_a, accuracy_b = (tuple(r.accuracy or 0.0 for r in runs) for runs in (runs_a, runs_b))
    fall = statistics.median(accuracy_a) - statistics.median(accuracy_b)
    losses = [statistics.median(r.loss or 0.0 for r in runs) for runs in (runs_a, runs_b)]
    is_worse = fall > rules.accuracy_loss or losses[1] > losses[0] * (1 + rules.limits.threshold)
    is_same = _results(runs_a) == _results(runs_b)
    changes = f"accuracy {-fall:+.4f}, loss {losses[0]:.6g} -> {losses[1]:.6g}"
    reason = "the same bits" if is_same else changes
    if max(len(_results(runs)) for runs in (runs_a, runs_b)) > 1:
        reason += "; runs of one side differ"
    verdict = "regression" if is_worse and not is_same else "no regression"
    return Judgement(
        name="accuracy",
        kind="quality",
        unit="",
        values_a=accuracy_a,
        values_b=accuracy_b,
        decision=_once_confirmed(sequential.Decision(verdict, True, 1, 0), len(pairs)),
        ratio=None,
        reason=reason,
    )


def _results(runs: Sequence[costs.RunMeasures]) -> set[tuple[str, ...]]:
    return {tuple(run.digests[name] for name in ("losses", "weights")) for run in runs}


def _once_confirmed(decision: sequential.Decision, num_pairs: int) -> sequential.Decision:
    """Leaves the judgement open until there is a second pair."""
    if num_pairs >= _FEWEST_PAIRS_OF_EXACT:
        return dataclasses.replace(decision, num_first=1, num_confirming=num_pairs - 1)
    return sequential.Decision("undecided", False, num_pairs, 0)


def _block(judgement: Judgement, blocked: Mapping[str, str]) -> Judgement:
    reason = blocked.get(judgement.name)
    if reason is None:
        return judgement
    decision = dataclasses.replace(judgement.decision, verdict="undecided", is_final=True)
    return dataclasses.replace(judgement, decision=decision, reason=f"not comparable: {reason}")
