"""The compiled programs as a table in Markdown."""

from typing import Any

HEADINGS = (
    "| step | precision | pairs | StableHLO | compile s | launches | temporaries GB | moved GB |\n"
    "|---|---|---|---|---|---|---|---|"
)


def row(program: dict[str, Any]) -> str:
    """Returns a program's line."""
    compiled = program["compiled"]
    cells = [program["phase"], program["precision"], program["pair_kernel"]]
    cells.append(str(sum(program["stablehlo"].values())))
    if compiled is None:
        cells += ["-"] * 4
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
