"""What a comparison of windows in turns resolves: the smallest slowdown that it would find."""

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

    Infinite (null in JSON): they hold too few pairs of processes to find any slowdown. Empty
    without windows in turns, and with too few pairs to know their noise.
    """
    if len(gathered.pairs) < _FEWEST_PAIRS or gathered.why_whole is not None:
        return {}
    number = min(gathered.pairs_in(_BUDGET_S), sequential.MOST_PAIRS)
    timed = [one for one in judgements if one.name in gathered.pairs[0].turns]
    noises = {one.name: sequential.spread(one.slowdowns) for one in timed}
    smallest = {n: sequential.smallest_found(noises[n], number, limits) for n in noises}
    return {"pairs_in_ten_minutes": number, "noise": noises, "smallest": smallest}


def line(resolution: Mapping[str, Any] | None) -> str:
    """Returns the resolution in one line; nothing if it is not known."""
    if not resolution:
        return ""
    listed = ", ".join(
        f"{name} {'none' if share is None else f'{100 * share:.1f} %'} "
        f"(noise {100 * resolution['noise'][name]:.1f} %)"
        for name, share in resolution["smallest"].items()
    )
    return (
        "The smallest slowdown that ten minutes would find with 95 % here and now, in "
        f"{resolution['pairs_in_ten_minutes']} pairs of processes: {listed}."
    )


def note(gathered: pairing.Gathered, kept: Sequence[Mapping[str, Any]]) -> str:
    """Returns how the sides were compared; `kept` are the `windows` of every pair."""
    if gathered.why_whole is not None:
        num_turns = sum(bool(pair.turns) for pair in gathered.pairs)
        since = f" from pair {num_turns + 1} on" if num_turns else ""
        return f"Whole runs were compared{since}, not windows in turns: {gathered.why_whole}."
    found = [of_phase for pair in kept for of_phase in pair.values()]
    total = sum(len(one["A"]) + len(one["B"]) for one in found)
    told = "The load by other programs is not known."
    if all(one["disturbed"] is not None for one in found):
        share = sum(one["disturbed"] for one in found) / max(total, 1)
        told = f"Other programs disturbed {100 * share:.0f} % of them."
    return f"Both sides were alive together and ran {total} windows in turns. {told}"


def windows(turn: driver.Turns, *, on_cpu: bool) -> dict[str, Any]:
    """Returns the windows of a phase for the decision: seconds per step, and disturbed ones.

    The number of disturbed ones is None if the load is not known.
    """
    seconds = {
        name: [float(f"{one.seconds / turn.steps:.6g}") for one in taken]
        for name, taken in turn.windows.items()
    }
    disturbed = driver.num_disturbed(turn.windows.values(), slot.num_cores(), on_cpu=on_cpu)
    return {"steps": turn.steps, "disturbed": disturbed, **seconds}
