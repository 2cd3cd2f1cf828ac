"""The answer of each kind of stage in one line, from the file that it wrote.

Reports are read as plain JSON: a host without jsonschema cannot validate them.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from benchmarks.accelerator import stages as stages_lib
from mlpf_jax.compare import talk

Document = Mapping[str, Any]
_PHASES = ("training", "inference")


def answer(stage: stages_lib.Stage, out: Path) -> str:
    """Returns what the stage found; empty if its file is missing or damaged."""
    return or_nothing(
        lambda: _OF_KIND[stage.kind](json.loads(stage.result(out).read_text()), stage, out)
    )


def or_nothing(tell: Callable[[], str]) -> str:
    """Returns what is told from files; empty if one is missing or damaged."""
    try:
        return tell()
    except (OSError, ValueError, LookupError, TypeError, AttributeError, ArithmeticError):
        return ""


def _here(found: Document, *_: Any) -> str:
    memory = found["memory_bytes"]
    size = f", {memory / 2**30:.0f} GiB for JAX" if memory else ""
    sensors = found["telemetry"].values()
    drivers = {str(driver) for one in sensors if (driver := one["description"].get("driver"))}
    driver = f", driver {' '.join(sorted(drivers))}" if drivers else ""
    clocks = {f"{clock:.0f}" for one in sensors if (clock := one["now"].get("clock_mhz"))}
    clock = f", {' '.join(sorted(clocks))} MHz" if clocks else ""
    lacking = ", ".join(found["missing"]) or "nothing"
    jax = found["environment"]["versions"].get("jax")
    return (
        f"{found['num_devices']} x {found['device_kind']}{size}{driver}{clock}, jax {jax}; "
        f"missing: {lacking}"
    )


def _golden(found: Document, *_: Any) -> str:
    return "; ".join(
        f"{precision} {_verdict(one)}" for precision, one in found["precisions"].items()
    )


def _verdict(one: Document) -> str:
    if "skipped" in one:
        return "not here"
    if "error" in one:
        return f"FAILS ({one['error'][:80]})"
    word = "agrees" if one["holds"] else "DIFFERS"
    if "measured" in one:
        return f"{word} (gradients to {one['measured']['gradients']:.2g})"
    if one.get("failed"):
        return f"{word} in {', '.join(one['failed'][:3])} (of {one['quantities']} quantities)"
    return f"{word} ({one['quantities']} quantities)"


def _roofs(found: Document, *_: Any) -> str:
    rates = [f"{name} {one['flops_per_s'] / 1e12:.3g}" for name, one in found["roofs"].items()]
    copies = max(one["bytes_per_s"] for one in found["roofs"].values())
    return f"TFLOP/s: {', '.join(rates)}; copies {copies / 1e12:.3g} TB/s"


def _run(found: Document, stage: stages_lib.Stage, out: Path) -> str:
    stats = found["report"]["wl-stats"]
    parts = [_rates(found), _memory_and_energy(stats)]
    base = _base(stage, out)
    if base:
        ratios = [
            f"{ours / theirs:.3g}" for ours, theirs in zip(scores(found), scores(base), strict=True)
        ]
        parts.append(f"x {' and '.join(ratios)} of {stage.base}")
    if stage.name.startswith("reproducibility"):
        parts = [_rates(found), _beside_the_talk(stats), _digests(stats, base)]
    return "; ".join(filter(None, parts))


def _base(stage: stages_lib.Stage, out: Path) -> Document | None:
    if stage.base is None:
        return None
    path = stage.result(out).parent.with_name(stage.base) / stage.result(out).name
    try:
        return json.loads(path.read_text())
    except (OSError, ValueError):
        return None


def scores(found: Document) -> list[float]:
    """Returns the events per second in training and in inference."""
    named = found["report"]["wl-scores"]
    return [[v for name, v in named.items() if name.startswith(p)][0] for p in _PHASES]  # noqa: RUF015


def _rates(found: Document) -> str:
    batch = found["report"]["wl-stats"]["batch_size_total"]
    training, inference = scores(found)
    return f"batch {batch}: {training:.4g}, {inference:.4g} events/s"


def _memory_and_energy(stats: Document) -> str:
    training = stats["phases"]["training"]
    told = [f"{training['memory_per_device']['total_bytes'] / 2**30:.3g} GiB"]
    if share := training.get("share_of_peak"):
        told += [f"{100 * share['share']:.2g} % of peak"]
    if energy := training.get("energy"):
        mark = " in too short a time" if energy.get("is_short") else ""
        told += [f"{energy['events_per_j']:.3g} events/J{mark}, {energy['mean_power_w']:.0f} W"]
    return ", ".join(told)


def _beside_the_talk(stats: Document) -> str:
    """Returns the accuracy beside the talk's four machines, and the time beside its GPUs."""
    others = ", ".join(f"{one.hardware} {one.accuracies[0]}" for one in talk.PUBLISHED_RUNS)
    gpus = [one for one in talk.PUBLISHED_RUNS if one.hardware.startswith("Nvidia")]
    times = ", ".join(f"{one.hardware} {one.epoch_s[0]}" for one in gpus)
    return (
        f"accuracy {stats['val_accuracy'][-1]:.4f} (2022: {others}); "
        f"epoch {stats['mean_epoch_time']:.4g} s (2022: {times})"
    )


def _digests(stats: Document, base: Document | None) -> str:
    own = (stats["loss_sha256"], stats["params_sha256"])
    if base is None:
        return f"losses {own[0][:12]}, weights {own[1][:12]}"
    other = base["report"]["wl-stats"]
    same = own == (other["loss_sha256"], other["params_sha256"])
    return "same digests as the first" if same else "OTHER DIGESTS than the first"


def _peers(found: Document, *_: Any) -> str:
    """Returns the rates and the memory of training as ours over those of the others."""
    told = []
    for phase in _PHASES:
        ratios = [
            f"{one['ratio_of_ours']['value']:.3g} of {name}"
            for name, one in found["contenders"][phase].items()
            if "ratio_of_ours" in one
        ]
        told.append(f"{phase} x {', '.join(ratios)}")
    cells = found["contenders"]["training"]
    memory = [
        f"{cells['jax']['peak_bytes'] / one['peak_bytes']:.3g} of {name}"
        for name, one in cells.items()
        if "ratio_of_ours" in one
    ]
    return f"ours: {'; '.join(told)}; memory x {', '.join(memory)}"


def _profile(found: Document, stage: stages_lib.Stage, out: Path) -> str:
    roofs = _roofs_of(found, stage, out)
    told = []
    for whole, flops in _steps(found):
        parts = whole["breakdown"]["parts"] if whole["breakdown"] else []
        covered = whole["breakdown"]["covered_s"] if whole["breakdown"] else 1.0
        shares = [
            f"{part['part']} {100 * (part['forward_s'] + part['backward_s']) / covered:.0f} %"
            for part in parts[:3]
        ]
        told.append(
            f"{whole['name']} {1e3 * whole['step_s']:.3g} ms"
            f"{_of_roof(whole, flops, roofs)} ({', '.join(shares) or 'not traced'})"
        )
    return "; ".join(told)


def shares_of_roof(found: Document, stage: stages_lib.Stage, out: Path) -> dict[str, float]:
    """Returns the shares of the measured roof that the steps of a profile reach, by their names."""
    roofs = _roofs_of(found, stage, out)
    shares = {whole["name"]: _share(whole, flops, roofs) for whole, flops in _steps(found)}
    return {name: share for name, share in shares.items() if share is not None}


def _steps(found: Document) -> Iterator[tuple[Document, float]]:
    """Yields the steps of a profile, and the FLOPs of their batch."""
    batch, per_event = found["config"]["train"]["batch_size"], found["flops_per_event"]
    wholes = found["on_one_core"] or found["wholes"]
    for whole, name in zip(wholes, ("infer_flops", "train_flops"), strict=True):
        yield whole, batch * per_event[name]


def _roofs_of(found: Document, stage: stages_lib.Stage, out: Path) -> Document:
    """Returns the rates that the stage `roofs` measured with larger arrays, or the profile's."""
    try:
        measured = json.loads((stage.folder(out).with_name("roofs") / "result.json").read_text())
        return measured["roofs"][found["config"]["model"]["precision"]]
    except (OSError, ValueError, LookupError, TypeError):
        return found["roofs"]


def _share(whole: Document, flops: float, roofs: Document) -> float | None:
    """Returns the share of the roof, products and then memory; None if the bytes are unknown."""
    if whole.get("num_bytes") is None:
        return None
    roof_s = flops / roofs["flops_per_s"] + whole["num_bytes"] / roofs["bytes_per_s"]
    return roof_s / whole["step_s"]


def _of_roof(whole: Document, flops: float, roofs: Document) -> str:
    """Returns launches, bytes and the share of the measured roof."""
    share = _share(whole, flops, roofs)
    if share is None:
        return ""
    return (
        f", {whole['num_launches']} launches, {whole['num_bytes'] / 1e9:.3g} GB, "
        f"{100 * share:.0f} % of the roof"
    )


_OF_KIND: Mapping[str, Callable[[Document, stages_lib.Stage, Path], str]] = {
    "here": _here,
    "golden": _golden,
    "roofs": _roofs,
    "run": _run,
    "peers": _peers,
    "profile": _profile,
}
