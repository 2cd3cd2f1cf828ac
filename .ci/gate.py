"""Checks that the regression gate works, by comparing a commit with itself.

    python .ci/gate.py --base=HEAD --preset=flags/smoke.cfg --max_pairs=2

The arguments are those of `tools.regress`. "No regression" and "cannot decide" are valid verdicts
for equal files; a regression is a false alarm, and any other exit status means that the gate itself
failed. The verdict must be in a valid decision.json.
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

from mlpf_jax.regress import baseline, documents

_QUICKLY = ("--rounds=4",)  # enough to see that the gate works


def main(arguments: list[str]) -> None:
    """Runs the gate, and exits with a one-line error message if anything is wrong."""
    with tempfile.TemporaryDirectory() as out:
        command = [sys.executable, "-m", "tools.regress", *_QUICKLY, *arguments, f"--out={out}"]
        status = subprocess.run(command, check=False).returncode
        verdict = {number: name for name, number in documents.EXIT_STATUS.items()}.get(status)
        path = Path(out) / "decision.json"
        if verdict is None or not path.is_file():
            sys.exit(f"error: the gate came to no verdict: its exit status is {status}.")
        decision = json.loads(path.read_text())
    baseline.validate(decision, "decision")
    if (decision["verdict"], decision["exit_status"]) != (verdict, status):
        sys.exit(f"error: the exit status is {status}; decision.json says {decision['verdict']!r}.")
    if verdict == "regression":
        sys.exit("error: a false alarm: nothing changed, and the gate confirmed a regression.")


if __name__ == "__main__":
    main(sys.argv[1:])
