"""The compiled programs: those of a file, and tables of them in Markdown."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, get_args

from mlpf_jax import config as config_lib

HEADINGS = (
    "| target | step | precision | pairs | StableHLO | compile s | launches | temporaries GB "
    "| moved GB |\n|---|---|---|---|---|---|---|---|---|"
)


def row(program: dict[str, Any]) -> str:
    """Returns a program's line."""
    compiled = program["compiled"]
    cells = [program[name] for name in ("target", "phase", "precision", "pair_kernel")]
    cells.append(str(sum(program["stablehlo"].values())) if "stablehlo" in program else "-")
    if compiled is None:
        cells += [program["why_not_compiled"][:80], "-", "-", "-"]
    elif "error" in compiled:
        cells += [compiled["error"].splitlines()[0][:80], "-", "-", "-"]
    else:
        cells += [
            f"{compiled['compile_s']:.0f}",
            str(compiled["num_launches"]),
            f"{compiled['memory']['temporary_bytes'] / 1e9:.2f}",
            f"{compiled['bytes_moved'] / 1e9:.1f}",
        ]
    return f"| {' | '.join(cells)} |"


def matrix(programs: Sequence[dict[str, Any]]) -> str:
    """Returns what compiles: a line per target and step, a column per precision."""
    precisions = get_args(config_lib.Precision)
    found: dict[tuple[str, ...], dict[str, str]] = {}
    for program in programs:
        key = tuple(program[name] for name in ("target", "phase", "network", "pair_kernel"))
        found.setdefault(key, {})[program["precision"]] = _state(program)
    lines = [
        f"| target | step | network | pairs | {' | '.join(precisions)} |",
        f"|{'---|' * (4 + len(precisions))}",
    ]
    for key, states in found.items():
        cells = [*key, *(states.get(precision, "-") for precision in precisions)]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _state(program: dict[str, Any]) -> str:
    compiled = program["compiled"]
    if compiled is None:
        return "lowered" if "stablehlo" in program else program["why_not_compiled"]
    return "fails" if "error" in compiled else f"compiles, {compiled['num_launches']} launches"


def earlier_programs(path: Path, document: dict[str, Any]) -> list[dict[str, Any]]:
    """Returns the programs of an existing file, to which those of this call are added.

    Raises:
        ValueError: if it is no such file, or has other sizes, flags, versions or another commit.
    """
    if not path.exists():
        return []
    try:
        before = json.loads(path.read_text())
        ours, theirs = (
            {name: it[name] for name in ("num_elements", "flops_per_event")}
            | {"XLA_FLAGS": it.get("xla_flags", "")}
            | {name: it["environment"][name] for name in ("versions", "git_commit")}
            for it in (document, before)
        )
        programs = before["programs"]
    except (ValueError, KeyError, TypeError):
        raise ValueError(f"{path}: not a file of this program; choose another file.") from None
    for name, value in ours.items():
        if theirs[name] != value:
            raise ValueError(f"{path}: was made with another {name}; choose another file.")
    return programs
