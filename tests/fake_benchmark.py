"""A repository with a fake benchmark, which writes a report with the costs in its files."""

import contextlib
import json
import random
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

from mlpf_jax import processes
from mlpf_jax.measure import load
from mlpf_jax.sides import driver
from tests import recorded

TEMPLATE = recorded.OLDEST_REPORT
_MAIN = """
import datetime, json, pathlib, random, sys, time

started_at = datetime.datetime.now(datetime.UTC).isoformat()
options = dict(word[2:].partition("=")[::2] for word in sys.argv[1:])
if "fail" in options:
    sys.exit("first line\\nerror: the run of this preset fails")
if "hang" in options:
    time.sleep(600)
here = pathlib.Path(__file__).parent
costs = json.loads((here / "costs.json").read_text())
document = json.loads((here / "template.json").read_text())
stats = document["report"]["wl-stats"]
for name, phase in stats["phases"].items():
    noise = 1 + random.uniform(-1, 1) * costs["noise"]
    count = len(phase["sample_s"])
    phase["sample_s"] = [costs[name] * noise] * count
    for column in ("steps", "events", "elements"):
        phase["sample_" + column] = [1] * count
    phase["compile_s"] = None if "nomeasure_compile" in options else costs["compile"] * noise
    phase["program_sha256"] = costs["program"] * 64
    phase["memory_per_device"]["total_bytes"] = costs["memory"]
stats["started_at"] = started_at
stats["finished_at"] = datetime.datetime.now(datetime.UTC).isoformat()
stats["loss_sha256"] = stats["loss_sha256"][:-8] + costs["digest"]
document["app"]["environment"]["runtime"]["cache"] = "compilation_cache" in options
document["app"]["bmk_checksum"] = costs["checksum"]
document["app"]["workload_version"] = costs["workload_version"]
stats["val_accuracy"] = [costs["accuracy"]]
folder = pathlib.Path(options["results_dir"])
(folder / "mlpf-jax_summary.json").write_text(json.dumps(document))
"""
# Serves windows after a run, as mlpf_jax.sides.member does.
_MEMBER = """
import json, os, pathlib, random, runpy, sys

answers = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)
share, here = float(sys.argv[1]), pathlib.Path(__file__).parents[1]
sys.argv = ["mlpf_jax.main", *sys.argv[2:]]
runpy.run_path(str(here / "main.py"), run_name="__main__")
costs = json.loads((here / "costs.json").read_text())
ready = {"protocol": 1, "identity": {}, "memory_bytes": costs["memory"], "events_per_step": 1}
print(json.dumps(ready | {"phases": ["training", "inference"]}), file=answers, flush=True)
for line in sys.stdin:
    request = json.loads(line)
    if "run" not in request:
        break
    noise = (1 + random.uniform(-1, 1) * costs["noise"]) * (1 + share)
    seconds = request["steps"] * costs[request["run"]] * noise
    print(json.dumps({"seconds": seconds, "load": None}), file=answers, flush=True)
"""
COSTS = {
    "training": 1.0,
    "inference": 0.5,
    "compile": 5.0,
    "memory": 1000,
    "accuracy": 0.9,
    "digest": "00000000",
    "program": "0",  # its digest, by one digit
    "checksum": "0" * 32,
    "workload_version": 1,
    "noise": 0.005,
    "events_per_step": 1,
}


def git(folder, *words):
    """Runs git in `folder` with a neutral identity."""
    who = ["-c", "user.name=x", "-c", "user.email=x@example.org", "-c", "core.hooksPath=/dev/null"]
    done = subprocess.run(
        ["git", "-C", str(folder), *who, *words], capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


def make(folder, *costs, serves=False):
    """Makes a repository with a commit for each of `costs`, in order, on the branch main.

    Their packages differ, if in nothing else than a number. With `serves`, they can be sides.
    """
    package = folder / "mlpf_jax"
    package.mkdir(parents=True)
    git(folder, "init", "--quiet", "--initial-branch=main")
    (package / "__init__.py").touch()
    (package / "main.py").write_text(_MAIN)
    if serves:
        (package / "sides").mkdir()
        (package / "sides" / "member.py").write_text(_MEMBER)
    (package / "template.json").write_text(TEMPLATE.read_text())
    (folder / "preset.cfg").write_text("# Nothing to set.\n--seed=1\n")
    for number, changed in enumerate(costs):
        (package / "version").write_text(str(number))
        set_costs(folder, **changed)
        git(folder, "add", "--all")
        git(folder, "commit", "--quiet", "--allow-empty", "--message=x")
    return folder


def set_costs(folder, **changed):
    """Changes the costs in the working tree."""
    (folder / "mlpf_jax" / "costs.json").write_text(json.dumps(COSTS | changed))


def run_here(command, *, folder, environ, log, timeout_s):
    """Runs the fake benchmark as `processes.run` does, but in this process, which is quicker."""
    arguments = command[command.index("mlpf_jax.main") :]
    program = Path(environ["PYTHONPATH"]) / "mlpf_jax" / "main.py"
    with contextlib.chdir(folder), pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", arguments)
        try:
            runpy.run_path(str(program), run_name="__main__")
        except SystemExit as ended:
            log.write_text(str(ended.code))
            raise processes.RunFailedError("ended with exit status 1") from None


def run_once(folder, results):
    """Runs the benchmark of the working tree."""
    run_here(
        ["mlpf_jax.main", f"--results_dir={results}"],
        folder=folder,
        environ={"PYTHONPATH": str(folder)},
        log=results / "log.txt",
        timeout_s=None,
    )


class Live(driver.Live):
    """A side whose whole run has taken place in this process, as `driver.starting` makes one."""

    phases = ("training", "inference")

    def __init__(self, side):
        share, *arguments = side.command[4:]
        run_here(
            ["mlpf_jax.main", *arguments],
            folder=side.folder,
            environ=side.environ,
            log=side.log,
            timeout_s=None,
        )
        costs = Path(side.environ["PYTHONPATH"]) / "mlpf_jax" / "costs.json"
        self._costs, self._share = json.loads(costs.read_text()), float(share)
        self.memory_bytes = self._costs["memory"]
        self.events_per_step = self._costs["events_per_step"]

    def run(self, phase, num_steps):
        noise = 1 + random.uniform(-1, 1) * self._costs["noise"]
        seconds = num_steps * self._costs[phase] * noise * (1 + self._share)
        return driver.Window(seconds, load.Load(0.5, 0.0))
