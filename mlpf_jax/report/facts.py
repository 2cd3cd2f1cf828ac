"""Facts about a run besides its times: machine, compiler, code, settings, events.

Runs with the same facts are repetitions. If two runs differ, their facts distinguish a change of
the hardware from one of the compiler. `report.model` declares which fields are facts.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from mlpf_jax.report.fields import CATEGORIES, Category, Effect, Fact
from mlpf_jax.report.model import Report

State = Literal["changed", "not known", "same"]
_CONCLUSIONS: dict[tuple[State, State], str] = {  # by states of hardware and compiler
    ("changed", "changed"): (
        "hardware and compiler both changed: a ratio may be due to either or both"
    ),
    ("changed", "same"): "the hardware changed, the compiler did not",
    ("same", "changed"): "the compiler changed, the hardware did not",
    ("same", "same"): "neither hardware nor compiler changed",
    ("changed", "not known"): "the hardware changed; whether the compiler did is not known",
    ("not known", "changed"): "the compiler changed; whether the hardware did is not known",
    ("same", "not known"): "the hardware is the same; whether the compiler is, is not known",
    ("not known", "same"): "the compiler is the same; whether the hardware is, is not known",
    ("not known", "not known"): "whether hardware or compiler changed is not known",
}


@dataclasses.dataclass(frozen=True)
class Difference:
    """One fact that differs between two runs. None: unknown for that run."""

    category: Category
    name: str
    before: str | None
    after: str | None
    effects: tuple[Effect, ...] = dataclasses.field(default=(), compare=False)

    def __str__(self) -> str:
        return f"{self.name} {_short(self.before)} -> {_short(self.after)}"


def facts(report: Report) -> tuple[Fact, ...]:
    """Returns all known facts of a run that could change its result, by category."""
    return tuple(sorted(report.facts(), key=lambda fact: CATEGORIES.index(fact.category)))


def identity(report: Report) -> tuple[Fact, ...]:
    """Returns the facts that repetitions share; a commit that leaves the package alone is none."""
    return tuple(fact for fact in facts(report) if fact.name != "commit")


def differences(a: Report, b: Report) -> tuple[Difference, ...]:
    """Returns the differences between `a` and `b`, by category."""
    before, after = ({(f.category, f.name): f for f in facts(report)} for report in (a, b))
    keys = sorted(before | after, key=lambda key: CATEGORIES.index(key[0]))
    found = []
    for key in keys:
        old, new = before.get(key), after.get(key)
        if old != new:
            values = (fact.value if fact else None for fact in (old, new))
            found.append(Difference(*key, *values, effects=(before | after)[key].effects))
    same_code = not any(d.name.endswith(" checksum") for d in found)
    return tuple(d for d in found if not (same_code and d.name == "commit"))


def explain(a: Report, b: Report) -> str:
    """Describes what changed from `a` to `b`, what did not, and what is unknown."""
    found = differences(a, b)
    if a.identity_key is None and b.identity_key is None:
        found = (Difference("hardware", "CPU identity", None, None), *found)
    return explanation(found)


def explanation(found: Sequence[Difference]) -> str:
    """Describes differences: what changed, what did not, and what a ratio may be due to."""
    if not found:
        return "nothing that is recorded differs"
    state = {category: _state(found, category) for category in CATEGORIES}
    parts: dict[State, list[str]] = {"changed": [], "not known": [], "same": []}
    for category, name in state.items():
        told = "; ".join(str(d) for d in found if d.category == category)
        parts[name].append(f"{category} ({told})" if told else category)
    unknown = f" Not known: {', '.join(parts['not known'])}." if parts["not known"] else ""
    changed, same = (", ".join(parts[name]) or "-" for name in ("changed", "same"))
    conclusion = _CONCLUSIONS[state["hardware"], state["compiler"]]
    return f"{conclusion}. Changed: {changed}.{unknown} Same: {same}"


def at(place: Any, *path: str) -> Any:
    """Returns the value at a path of keys; None if a key is missing."""
    for name in path:
        place = place.get(name) if isinstance(place, Mapping) else None
    return place


def _state(found: Sequence[Difference], category: Category) -> State:
    """If all differing facts are known for one run only, no change is known.

    Another commit alone is not a change: the measured code may be the same.
    """
    of_it = [difference for difference in found if difference.category == category]
    known = [d for d in of_it if d.before is not None and d.after is not None]
    if any(d.name != "commit" for d in known):
        return "changed"
    return "not known" if of_it else "same"


def _short(value: str | None) -> str:
    """Shortens digests to their first digits, as in the summary of a run."""
    if value is None:
        return "unknown"
    is_digest = len(value) in (32, 40, 64) and set(value) <= set("0123456789abcdef")
    return value[:12] if is_digest else value or "none"
