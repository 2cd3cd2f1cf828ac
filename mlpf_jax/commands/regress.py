"""Tests whether a change made the benchmark slower: both sides are alive and compute in turns.

    mlpf-jax-regress --base=main                 # a commit against the working tree
    mlpf-jax-regress --base=HEAD --inject=0.15   # a test of the gate: B does 15 % more work
    mlpf-jax-regress --base=HEAD --head_python=OTHER/bin/python    # two environments
    mlpf-jax-regress --resolve                   # the smallest slowdown that it would find here
    mlpf-jax-regress --save_baseline=spring      # stores runs on this machine
    mlpf-jax-regress --baseline=spring           # against the stored runs
    mlpf-jax-regress RESULTS_A RESULTS_B         # compares results, without any run

See docs/regression.md for the method and its error rates. Exit status:
0 no regression, 1 regression, 2 wrong usage, 3 cannot decide, 4 a run failed, 5 nothing to compare,
70 the gate itself failed, 130 on Ctrl-C, 143 on SIGTERM.
"""

import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from absl import flags

from mlpf_jax import cli, processes, progress
from mlpf_jax.regress import baseline, documents, pairing, resolution, session

_BASE = flags.DEFINE_string("base", None, "Commit for A. Default: the start of the branch.")
_HEAD = flags.DEFINE_string("head", None, "Commit for B. Default: the working tree.")
_BASE_PYTHON = flags.DEFINE_string(
    "base_python", None, "Python for A. Default: made from A's own lock."
)
_HEAD_PYTHON = flags.DEFINE_string(
    "head_python", None, "Python for B. Default: made from B's own lock."
)
_BASELINE = flags.DEFINE_string("baseline", None, "Name or file of a baseline to use as A.")
_SAVE = flags.DEFINE_string(
    "save_baseline", None, "Run only B, and store its runs under this name."
)
_FORCE = flags.DEFINE_bool("force", False, "Let --save_baseline replace an existing baseline.")
_FOLDER = flags.DEFINE_string(
    "baseline_dir", str(baseline.DEFAULT_FOLDER), "Folder of baselines, by class of machine."
)
_PRESET = flags.DEFINE_string("preset", "flags/regression.cfg", "Preset to run.")
_THRESHOLD = flags.DEFINE_float("threshold", 0.05, "Smallest slowdown that must be caught.")
_ALLOWANCE = flags.DEFINE_float(
    "allowance", None, "Slowdowns to ignore. Default: 0, or 0.02 against a baseline."
)
_ACCURACY = flags.DEFINE_float("accuracy_loss", 0.005, "Largest allowed decrease of the accuracy.")
_INJECT = flags.DEFINE_float(
    "inject", None, "Share of extra work that B does in timed windows, as a test of the gate."
)
_RESOLVE = flags.DEFINE_bool(
    "resolve", False, "Compare B with itself, and print the smallest slowdown that is found."
)
_BUDGET = flags.DEFINE_float("budget_s", 585, "Seconds after which no more runs are started.")
_MAX_PAIRS = flags.DEFINE_integer("max_pairs", 20, "Maximum number of pairs of processes.")
_ROUNDS = flags.DEFINE_integer(
    "rounds", 32, "Windows in turns of each side, for every phase and pair of processes."
)
_TIMEOUT = flags.DEFINE_float(
    "run_timeout_s", 300, "Seconds after which a run, or a side that does not answer, is killed."
)
_OUT = flags.DEFINE_string("out", "build/regression", "Folder for the decision and its exports.")
_QUIET = flags.DEFINE_bool("quiet", False, "Print no progress.")

_RUN_FAILED, _NOTHING_TO_COMPARE = 4, 5
_UNKNOWN = "The resolution is not known: too few pairs of processes in the time, or whole runs."
_GATE_FAILED = 70  # EX_SOFTWARE of sysexits.h: no verdict because of an internal error


def main(argv: Sequence[str]) -> int:
    tell = progress.Progress(quiet=_QUIET.value).say
    try:
        with processes.interrupted_by_terminate():
            return _run(argv[1:], tell)
    except session.NothingToCompareError as same:
        print(f"nothing to compare: {same} To compare a commit with itself, give --base=HEAD.")
        return _NOTHING_TO_COMPARE
    except processes.RunFailedError as error:
        print(*error.last_lines, sep="\n", file=sys.stderr)
        return cli.complain(f"a run failed: {error}", _RUN_FAILED)
    except (OSError, ValueError) as error:
        return cli.complain(error, cli.USAGE)


def _run(files: Sequence[str], tell: pairing.Tell) -> int:
    request = _request(files)
    if _SAVE.value is not None:
        documents.check_writable(request.baseline_folder)
        print(session.record(request, _SAVE.value, tell, force=_FORCE.value))
        return 0
    out = Path(_OUT.value)
    documents.check_writable(out)
    found = documents.document(session.compare(request, tell))
    width = shutil.get_terminal_size((120, 24)).columns
    told = documents.text(found, width=width, colour=sys.stdout.isatty())
    if request.resolve:
        told = (resolution.line(found["resolution"]) or _UNKNOWN) + "\n"
    print(told, end="", flush=True)
    try:
        print(f"decision: {documents.write(found, out)}")
    except OSError as error:
        told = f"the verdict above was not written into {out}: {error.strerror or error}."
        is_regression = found["verdict"] == "regression" and not request.resolve
        return cli.complain(told, found["exit_status"] if is_regression else _GATE_FAILED)
    return 0 if request.resolve else found["exit_status"]


def _request(files: Sequence[str]) -> session.Request:
    if len(files) not in (0, 2):
        raise ValueError("give two files or folders of results, A and B, or none.")
    return session.Request(
        base=_BASE.value,
        head=_HEAD.value,
        base_python=_python(_BASE_PYTHON.value),
        head_python=_python(_HEAD_PYTHON.value),
        baseline_name=_BASELINE.value,
        files=(Path(files[0]), Path(files[1])) if files else None,
        preset=Path(_PRESET.value),
        baseline_folder=Path(_FOLDER.value),
        threshold=_THRESHOLD.value,
        allowance=_ALLOWANCE.value,
        accuracy_loss=_ACCURACY.value,
        inject=_INJECT.value,
        resolve=_RESOLVE.value,
        budget_s=_BUDGET.value,
        max_pairs=_MAX_PAIRS.value,
        rounds=_ROUNDS.value,
        run_timeout_s=_TIMEOUT.value,
    )


def _python(path: str | None) -> Path | None:
    """Returns the absolute path, because runs start elsewhere; environments need their links."""
    return Path(path).absolute() if path else None


def run_app() -> None:
    """Runs the program."""
    cli.run(main, takes_files=True, crash_status=_GATE_FAILED)


if __name__ == "__main__":
    run_app()
