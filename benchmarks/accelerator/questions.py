"""The goals of this project on an accelerator, and whether they are met, as far as stages tell."""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.accelerator import answers, stages
from mlpf_jax.compare import talk
from mlpf_jax.render import tables

_ROOF = 0.6  # share of the measured roof in training
_TIMES = 3.0  # the fastest peer in training
_MEMORY = 0.5  # of that peer
_A100 = next(one.events_per_s[0] for one in talk.PUBLISHED_RUNS if "A100" in one.hardware)

Document = Mapping[str, Any]


def table(all_stages: Sequence[stages.Stage], out: Path) -> tables.Table:
    """Returns a row for each question; the answer is `open` if no stage has found it yet."""
    by_name = {stage.name: stage for stage in all_stages}
    traced = [stage for stage in all_stages if stage.kind == "profile"]
    fast = traced[0].name.removeprefix("profile-") if traced else ""

    def read(name: str) -> Document:
        return json.loads(by_name[name].result(out).read_text())

    def peers() -> dict[str, tuple[float, float]]:
        names = (f"peers-{fast}-batch-16", f"peers-compiled-{fast}-batch-16")
        there = [name for name in names if by_name[name].result(out).exists()]
        return {peer: pair for name in there for peer, pair in _peers(read(name)).items()}

    asked: dict[str, Callable[[], str]] = {
        "agrees with the golden data": lambda: _golden(read("golden")),
        f"{100 * _ROOF:.0f} % of the measured roof in training, {fast}": lambda: _roof(
            answers.shares_of_roof(read(f"profile-{fast}"), traced[0], out)["training"]
        ),
        f"{_TIMES:g} times the best peer in training, {fast}, batch 16": lambda: _times(peers()),
        f"{_MEMORY:g} of that peer's memory": lambda: _memory(peers()),
        f"times the A100 of 2022, which trained {_A100:g} events/s": lambda: _beside_2022(
            read(f"{fast}-batch-16")
        ),
        "two runs with the same digests": lambda: _digests(
            *(read(f"reproducibility-{number}") for number in (1, 2))
        ),
    }
    rows = tuple((question, answers.or_nothing(find) or "open") for question, find in asked.items())
    return tables.Table(title="What is asked", columns=("goal", "met"), rows=rows)


def _yes(is_met: bool) -> str:
    return "yes" if is_met else "NO"


def _golden(found: Document) -> str:
    held = {name: one["holds"] for name, one in found["precisions"].items() if "holds" in one}
    wrong = [name for name, holds in held.items() if not holds]
    return f"{_yes(not wrong)}: {', '.join(wrong or held)}"


def _roof(share: float) -> str:
    return f"{_yes(share >= _ROOF)}: {100 * share:.0f} %"


def _peers(found: Document) -> dict[str, tuple[float, float]]:
    """Returns our speed and memory in training over those of each peer."""
    cells = found["contenders"]["training"]
    return {
        name: (one["ratio_of_ours"]["value"], cells["jax"]["peak_bytes"] / one["peak_bytes"])
        for name, one in cells.items()
        if "ratio_of_ours" in one
    }


def _times(peers: Mapping[str, tuple[float, float]]) -> str:
    best = min(peers, key=lambda name: peers[name][0])
    others = "" if len(peers) > 1 else ", the only one measured"
    return f"{_yes(peers[best][0] >= _TIMES)}: {peers[best][0]:.3g} times {best}{others}"


def _memory(peers: Mapping[str, tuple[float, float]]) -> str:
    best = min(peers, key=lambda name: peers[name][0])
    return f"{_yes(peers[best][1] <= _MEMORY)}: {peers[best][1]:.3g} of {best}"


def _beside_2022(found: Document) -> str:
    training = answers.scores(found)[0]
    return f"{training / _A100:.3g} times: {training:.4g} events/s"


def _digests(first: Document, second: Document) -> str:
    ours, theirs = (
        [one["report"]["wl-stats"][name] for name in ("loss_sha256", "params_sha256")]
        for one in (first, second)
    )
    return _yes(ours == theirs)
