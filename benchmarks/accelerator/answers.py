"""The answer of each kind of stage in one line, from the file that it wrote.

Reports are read as plain JSON: a host without jsonschema cannot validate them.
"""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from benchmarks.accelerator import stages as stages_lib
from mlpf_jax.compare import talk

Document = Mapping[str, Any]
_PHASES = ("training", "inference")


def answer(stage: stages_lib.Stage, out: Path) -> str:
    """Returns what the stage found; empty if its file is missing or damaged."""
    try:
        found = json.loads(stage.result(out).read_text())
        if stage.kind == "run":
            return _run(found, stage, out)
        return _OF_KIND[stage.kind](found)
    except (OSError, ValueError, LookupError, TypeError, AttributeError, ArithmeticError):
        return ""


def _here(found: Document) -> str:
    memory = found["memory_bytes"]
    size = f", {memory / 2**30:.0f} GiB" if memory else ""
    sensors = [one["description"] for one in found["telemetry"].values()]
    drivers = {str(one["driver"]) for one in sensors if one.get("driver")}
    driver = f", driver {' '.join(sorted(drivers))}" if drivers else ""
    lacking = ", ".join(found["missing"]) or "nothing"
    jax = found["environment"]["versions"].get("jax")
    return (
        f"{found['num_devices']} x {found['device_kind']}{size}{driver}, jax {jax}; "
        f"missing: {lacking}"
    )


def _golden(found: Document) -> str:
    return "; ".join(
        f"{precision} {_verdict(one)}" for precision, one in found["precisions"].items()
    )


def _verdict(one: Document) -> str:
    if "skipped" in one:
        return "not here"
    word = "agrees" if one["holds"] else "DIFFERS"
    if "measured" in one:
        return f"{word} (gradients to {one['measured']['gradients']:.2g})"
    return f"{word} ({one['quantities']} quantities)"


def _roofs(found: Document) -> str:
    rates = [f"{name} {one['flops_per_s'] / 1e12:.3g}" for name, one in found["roofs"].items()]
    copies = max(one["bytes_per_s"] for one in found["roofs"].values())
    return f"TFLOP/s: {', '.join(rates)}; copies {copies / 1e12:.3g} TB/s"


def _run(found: Document, stage: stages_lib.Stage, out: Path) -> str:
    stats = found["report"]["wl-stats"]
    parts = [_rates(found), _memory_and_energy(stats)]
    base = _base(stage, out)
    if base:
        ratios = [
            f"{ours / theirs:.3g}"
            for ours, theirs in zip(_scores(found), _scores(base), strict=True)
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


def _scores(found: Document) -> list[float]:
    scores = found["report"]["wl-scores"]
    return [[v for name, v in scores.items() if name.startswith(p)][0] for p in _PHASES]  # noqa: RUF015


def _rates(found: Document) -> str:
    batch = found["report"]["wl-stats"]["batch_size_total"]
    training, inference = _scores(found)
    return f"batch {batch}: {training:.4g}, {inference:.4g} events/s"


def _memory_and_energy(stats: Document) -> str:
    training = stats["phases"]["training"]
    told = [f"{training['memory_per_device']['total_bytes'] / 2**30:.3g} GiB"]
    if share := training.get("share_of_peak"):
        told += [f"{100 * share['share']:.2g} % of peak"]
    if energy := training.get("energy"):
        told += [f"{energy['events_per_j']:.3g} events/J, {energy['mean_power_w']:.0f} W"]
    return ", ".join(told)


def _beside_the_talk(stats: Document) -> str:
    published = [one for one in talk.PUBLISHED_RUNS if one.hardware.startswith("Nvidia")]
    others = ", ".join(f"{one.accuracies[0]} {one.epoch_s[0]} s" for one in published)
    names = " and ".join(one.hardware.removeprefix("Nvidia ") for one in published)
    return (
        f"accuracy {stats['val_accuracy'][-1]:.4f}, epoch {stats['mean_epoch_time']:.4g} s "
        f"({names} of 2022: {others})"
    )


def _digests(stats: Document, base: Document | None) -> str:
    own = (stats["loss_sha256"], stats["params_sha256"])
    if base is None:
        return f"losses {own[0][:12]}, weights {own[1][:12]}"
    other = base["report"]["wl-stats"]
    same = own == (other["loss_sha256"], other["params_sha256"])
    return "same digests as the first" if same else "OTHER DIGESTS than the first"


def _peers(found: Document) -> str:
    told = []
    for phase in _PHASES:
        others = [
            f"{one['ratio_of_ours']['value']:.3g} of {name}"
            for name, one in found["contenders"][phase].items()
            if "ratio_of_ours" in one
        ]
        told.append(f"{phase} x {', '.join(others)}")
    return "ours: " + "; ".join(told)


def _profile(found: Document) -> str:
    batch = found["config"]["train"]["batch_size"]
    wholes = found["on_one_core"] or found["wholes"]
    told = []
    for whole, flops in zip(
        wholes, (found["flops_per_event"][n] for n in ("infer_flops", "train_flops")), strict=True
    ):
        parts = whole["breakdown"]["parts"] if whole["breakdown"] else []
        covered = whole["breakdown"]["covered_s"] if whole["breakdown"] else 1.0
        shares = [
            f"{part['part']} {100 * (part['forward_s'] + part['backward_s']) / covered:.0f} %"
            for part in parts[:3]
        ]
        told.append(
            f"{whole['name']} {1e3 * whole['step_s']:.3g} ms"
            f"{_of_roof(whole, flops * batch, found['roofs'])} ({', '.join(shares)})"
        )
    return "; ".join(told)


def _of_roof(whole: Document, flops: float, roofs: Document) -> str:
    """Returns launches, bytes and the share of the measured roof: products, then memory."""
    if whole.get("num_bytes") is None:
        return ""
    roof_s = flops / roofs["flops_per_s"] + whole["num_bytes"] / roofs["bytes_per_s"]
    return (
        f", {whole['num_launches']} launches, {whole['num_bytes'] / 1e9:.3g} GB, "
        f"{100 * roof_s / whole['step_s']:.0f} % of the roof"
    )


_OF_KIND: Mapping[str, Callable[[Document], str]] = {
    "here": _here,
    "golden": _golden,
    "roofs": _roofs,
    "peers": _peers,
    "profile": _profile,
}
