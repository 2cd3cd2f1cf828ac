"""Checks summaries of the workload as hep-score reads them, and prints the score that it gives.

    python -m tools.check_hepscore run*/mlpf-jax_summary.json --ref training=1.07 --ref inference=4

Each file is a repetition. Exit status: 0 if there is a score, 1 if there is none and a line says
why, 2 for wrong usage.
"""

import math
from collections.abc import Sequence
from pathlib import Path

from absl import flags

from mlpf_jax import cli
from mlpf_jax.render import escaping
from mlpf_jax.report import replay

_REFERENCES = flags.DEFINE_multi_string(
    "ref", [], "Score of the reference machine, NAME=VALUE; once for each score of ref_scores."
)
_REPETITIONS = flags.DEFINE_integer(
    "repetitions",
    None,
    "Repetitions in hep-score's configuration. Default: one for each file.",
    lower_bound=1,
)
_SCALING = flags.DEFINE_float("scaling", 1.0, "Scaling in hep-score's configuration.")
_MEANINGS = {
    "skipped": "hep-score does not count it",
    "crashes": "hep-score crashes",
    "meaningless": "hep-score counts it, but",
}


def main(argv: Sequence[str]) -> int:
    """Checks all files and prints the score."""
    paths = [Path(name) for name in argv[1:]]
    if not paths:
        return cli.complain("give the summary of every repetition.", cli.USAGE)
    if not 0 < _SCALING.value < math.inf:
        return cli.complain(f"--scaling={_SCALING.value}: must be a positive number.", cli.USAGE)
    try:
        references = _references(_REFERENCES.value)
    except ValueError as error:
        return cli.complain(error, cli.USAGE)
    runs = [replay.read(path, references) for path in paths]
    for run in runs:
        print(escaping.clean(f"{run.source}: {_told(run)}"))
    try:
        score = replay.final(runs, _REPETITIONS.value or len(runs), _SCALING.value)
    except ValueError as error:
        return cli.complain(f"no score: {escaping.clean(str(error))}.", cli.FAILURE)
    print(f"score: {score}")
    return 0


def _references(words: Sequence[str]) -> dict[str, float]:
    """Returns the reference scores by name.

    Raises:
        ValueError: if there are none, or one is not NAME=VALUE with a positive number.
    """
    found = {}
    for word in words:
        name, equals, text = word.partition("=")
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not (name and equals and math.isfinite(value) and value > 0):
            raise ValueError(f"--ref={word}: write NAME=VALUE with a positive number.")
        found[name] = value
    if not found:
        raise ValueError("give the reference scores, such as --ref training=1.07.")
    return found


def _told(run: replay.Run) -> str:
    if run.state != "counted":
        return f"{_MEANINGS[run.state]}: {run.reason}"
    ratios = ", ".join(f"{name} {ratio:g}" for name, ratio in run.ratios.items())
    return f"{run.score:g} ({ratios})"


def run_app() -> None:
    """Runs the program."""
    cli.run(main, takes_files=True)


if __name__ == "__main__":
    run_app()
