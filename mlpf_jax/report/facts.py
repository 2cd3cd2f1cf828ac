"""What a report says of its run besides the times: machine, compiler, code, settings, events.

Runs with the same facts are repetitions of one another. Where two runs differ, their facts tell a
change of the hardware from one of the compiler.
"""

import dataclasses
import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal, get_args

from mlpf_jax.report import reader

Category = Literal[
    "hardware", "compiler", "libraries", "code", "system", "settings", "events", "program"
]
CATEGORIES: tuple[Category, ...] = get_args(Category)
_COMPILER_PACKAGES = ("jax", "jaxlib", "libtpu")  # and JAX's plugins
_KNOWN_ELSEWHERE = {
    "model.precision",  # run_info tells it too
    "num_devices",  # hardware, or virtual
    "train.batch_size",  # per device; with the global one told by name
    "train.num_epochs",
    "train.steps_per_epoch",
    "train.num_steps",  # all three: "steps by epoch"
    "measures_compile",  # told as "steps from a cache"
    "num_infer_samples",  # how long was measured, not what
    "data.num_train_events",
    "data.num_test_events",  # events
}


@dataclasses.dataclass(frozen=True)
class Fact:
    """One thing known of a run; a fact that is not known is not there."""

    category: Category
    name: str
    value: str


@dataclasses.dataclass(frozen=True)
class Difference:
    """One thing that two runs do not share. None: not known of that run."""

    category: Category
    name: str
    before: str | None
    after: str | None

    def __str__(self) -> str:
        return f"{self.name} {_short(self.before)} -> {_short(self.after)}"


def facts(report: reader.Report) -> tuple[Fact, ...]:
    """Returns all that is known of a run and could change its result."""
    pairs: dict[Category, Iterator[tuple[str, Any]]] = {
        "hardware": _hardware(report),
        "compiler": _versions(report, of_compiler=True),
        "libraries": _versions(report, of_compiler=False),
        "code": _code(report),
        "system": _system(report),
        "settings": _settings(report),
        "events": _events(report),
        "program": _programs(report),
    }
    return tuple(
        Fact(category, name, _text(value))
        for category, found in pairs.items()
        for name, value in found
        if value is not None
    )


def identity(report: reader.Report) -> tuple[Fact, ...]:
    """Returns the facts that repetitions share. A commit that left the package alone is none."""
    return tuple(fact for fact in facts(report) if fact.name != "commit")


def differences(a: reader.Report, b: reader.Report) -> tuple[Difference, ...]:
    """Returns what differs from `a` to `b`, by category."""
    before, after = ({(f.category, f.name): f.value for f in facts(r)} for r in (a, b))
    keys = sorted(before | after, key=lambda key: CATEGORIES.index(key[0]))
    found = [
        Difference(*key, before.get(key), after.get(key))
        for key in keys
        if before.get(key) != after.get(key)
    ]
    same_code = not any(d.name == "package checksum" for d in found)
    return tuple(d for d in found if not (same_code and d.name == "commit"))


def explanation(found: Sequence[Difference]) -> str:
    """Says in words what differences mean: what changed, what did not, to whom a ratio is due."""
    changed = [c for c in CATEGORIES if any(d.category == c for d in found)]
    same = [c for c in CATEGORIES if c not in changed]
    if not changed:
        return "nothing that is recorded differs"
    lists = [
        f"{category} ({'; '.join(str(d) for d in found if d.category == category)})"
        for category in changed
    ]
    return f"{_conclusion(changed)}. Changed: {', '.join(lists)}. Same: {', '.join(same) or '-'}"


def at(place: Any, *path: str) -> Any:
    """Returns what stands at a path of keys; None if anything on the way is missing."""
    for name in path:
        place = place.get(name) if isinstance(place, Mapping) else None
    return place


def _conclusion(changed: Sequence[Category]) -> str:
    hardware, compiler = "hardware" in changed, "compiler" in changed
    if hardware and compiler:
        return "hardware and compiler both changed: a ratio is due to one, the other or both"
    if hardware:
        return "the hardware changed, the compiler did not"
    if compiler:
        return "the compiler changed, the hardware did not"
    return "neither hardware nor compiler changed"


def _hardware(report: reader.Report) -> Iterator[tuple[str, Any]]:
    environment = report.environment
    names = Counter(d["name"] for d in report.devices if d["platform"] != "cpu")
    yield "devices", ", ".join(f"{n} x {name}" for name, n in names.items()) or "CPU"
    yield "CPU", environment.get("cpu")
    yield "cores used", at(environment, "runtime", "num_cores")
    yield "cores", environment.get("num_cpu_cores")
    memory = environment.get("memory_bytes")  # a new kernel takes a few pages more or less
    yield "memory", f"{memory / 2**30:.0f} GiB" if isinstance(memory, int | float) else None
    yield "architecture", environment.get("machine")


def _versions(report: reader.Report, *, of_compiler: bool) -> Iterator[tuple[str, Any]]:
    for name, version in sorted(report.environment["versions"].items()):
        is_compiler = name in _COMPILER_PACKAGES or name.endswith(("-plugin", "-pjrt"))
        if is_compiler == of_compiler and name != "mlpf_jax":
            yield name, version
    if of_compiler:
        yield "driver", report.environment.get("driver")
        yield "XLA flags", at(report.environment, "runtime", "xla_flags")


def _code(report: reader.Report) -> Iterator[tuple[str, Any]]:
    commit = report.environment["git_commit"]
    changes = " with changes" if report.environment.get("git_is_dirty") else ""
    yield "package checksum", report.document["app"]["bmk_checksum"]
    yield "commit", commit and f"{_text(commit)[:12]}{changes}"
    yield "version", report.document["app"]["version"]


def _system(report: reader.Report) -> Iterator[tuple[str, Any]]:
    yield "system", report.environment.get("system")
    yield "kernel", report.environment.get("kernel")
    yield "containment", report.document["app"]["containment"]
    runtime = report.environment["runtime"]
    yield from ((n, runtime[n]) for n in sorted(runtime) if n not in ("num_cores", "xla_flags"))


def _settings(report: reader.Report) -> Iterator[tuple[str, Any]]:
    yield "workload version", report.document["app"]["workload_version"]
    yield "emulated devices", "yes" if report.is_emulated else "no"
    yield "virtual devices", len(report.devices) if report.is_emulated else 0
    yield "precision", report.precision
    yield "padding", report.padding
    yield "steps from a cache", "no" if report.config.get("measures_compile", True) else "yes"
    yield "batch per device", report.stats["batch_size_per_device"]
    yield "global batch", report.stats["batch_size_total"]
    yield "steps by epoch", report.stats.get("steps_by_epoch")
    for name, value in _flat("", report.config):
        if name not in _KNOWN_ELSEWHERE and not name.endswith("padding"):
            yield name, value


def _events(report: reader.Report) -> Iterator[tuple[str, Any]]:
    for name, sha256 in report.data_sha256.items():
        yield f"{name} events", sha256
        yield f"number of {name} events", at(report.stats["data"], name, "num_events")


def _programs(report: reader.Report) -> Iterator[tuple[str, Any]]:
    yield "graph", report.stats["graph_sha256"]
    for name, phase in report.phases.items():
        yield f"{name} step", phase.program_sha256


def _flat(prefix: str, settings: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for name, value in settings.items():
        if isinstance(value, Mapping):
            yield from _flat(f"{prefix}{name}.", value)
        else:
            yield prefix + name, value


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _short(value: str | None) -> str:
    """Digests by their first digits, as the summary of a run shows them."""
    if value is None:
        return "unknown"
    is_digest = len(value) in (32, 40, 64) and set(value) <= set("0123456789abcdef")
    return value[:12] if is_digest else value or "none"
