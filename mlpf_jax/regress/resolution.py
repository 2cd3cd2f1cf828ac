"""What a comparison of windows in turns resolves: the smallest slowdown that it would find."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from mlpf_jax.measure import slot
from mlpf_jax.regress import judging, pairing
from mlpf_jax.sides import driver
from mlpf_jax.stats import sequential

_BUDGET_S = 600.0
_FEWEST_PAIRS = 4  # for a spread


def found(
    gathered: pairing.Gathered, judgements: Sequence[judging.Judgement], limits: sequential.Limits
) -> dict[str, Any]:
    """Returns what ten minutes like these would find with 95 %, as a share, by phase.

    None: they hold too few pairs of processes to find any slowdown. Empty without windows in turns,
    and with too few pairs to know their noise.
    """
    if len(gathered.pairs) < _FEWEST_PAIRS or gathered.why_whole is not None:
        return {}
    number = min(gathered.pairs_in(_BUDGET_S), sequential.MOST_PAIRS)
    noises = {one.name: one.noise for one in judgements if one.name in gathered.pairs[0].turns}
    smallest = {
        name: sequential.smallest_found(noise or 0.0, number, limits)
        for name, noise in noises.items()
    }
    told = {name: share if math.isfinite(share) else None for name, share in smallest.items()}
    return {"pairs_in_ten_minutes": number, "noise": noises, "smallest": told}


def lines(resolution: Mapping[str, Any] | None) -> list[str]:
    """Returns the resolution in one line, if it is known."""
    if not resolution:
        return []
    listed = ", ".join(
        f"{name} {'none' if share is None else f'{100 * share:.1f} %'} "
        f"(noise {100 * resolution['noise'][name]:.1f} %)"
        for name, share in resolution["smallest"].items()
    )
    return [
        "The smallest slowdown that ten minutes would find with 95 % here and now, in "
        f"{resolution['pairs_in_ten_minutes']} pairs of processes: {listed}."
    ]


def notes(gathered: pairing.Gathered) -> list[str]:
    """Returns how the sides were compared, with the share of disturbed windows."""
    if gathered.why_whole is not None:
        return [f"Whole runs were compared, not windows in turns: {gathered.why_whole}."]
    found = [windows(turn) for pair in gathered.pairs for turn in pair.turns.values()]
    total = sum(len(one["A"]) + len(one["B"]) for one in found)
    share = sum(one["disturbed"] for one in found) / max(total, 1)
    return [
        f"Both sides were alive together and ran {total} windows in turns. Other programs "
        f"disturbed {100 * share:.0f} % of them."
    ]


def windows(turn: driver.Turns) -> dict[str, Any]:
    """Returns the windows of a phase for the decision: seconds per step, and disturbed ones."""
    seconds = {
        name: [float(f"{one.seconds / turn.steps:.6g}") for one in taken]
        for name, taken in turn.windows.items()
    }
    cores = slot.num_cores()
    disturbed = sum(driver.num_disturbed(taken, cores) for taken in turn.windows.values())
    return {"steps": turn.steps, "disturbed": disturbed, **seconds}
